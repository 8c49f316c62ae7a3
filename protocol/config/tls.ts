/** `tls` of a listener: the schema, and what it becomes in a generation. The files it names are read where they are used, by ingress. */
import { z } from 'zod';
import type { Compiling } from './compiling.ts';
import type { ListenerTls, TlsVersion } from './generation.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';
import { nonEmpty, section, word } from './section.ts';

/** The names of the reference and the older ones it also takes, as OpenSSL calls them. */
const CIPHER_SUITES = {
  TLS_AES_256_GCM_SHA384: 'TLS_AES_256_GCM_SHA384',
  TLS_AES_128_GCM_SHA256: 'TLS_AES_128_GCM_SHA256',
  TLS_CHACHA20_POLY1305_SHA256: 'TLS_CHACHA20_POLY1305_SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS13_AES_256_GCM_SHA384: 'TLS_AES_256_GCM_SHA384',
  TLS13_AES_128_GCM_SHA256: 'TLS_AES_128_GCM_SHA256',
  TLS13_CHACHA20_POLY1305_SHA256: 'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384': 'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256': 'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305': 'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-AES256-GCM-SHA384': 'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES128-GCM-SHA256': 'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-CHACHA20-POLY1305': 'ECDHE-RSA-CHACHA20-POLY1305',
} as const;

const KEY_EXCHANGE_GROUPS = { X25519: 'X25519', 'P-256': 'P-256', 'P-384': 'P-384', X25519_MLKEM768: 'X25519MLKEM768' } as const;

const VERSIONS = { TLS_V1_2: 'TLSv1.2', TLS_V1_3: 'TLSv1.3' } as const satisfies Record<string, TlsVersion>;

const LIST_MAX = 64;

const namesOf = <const N extends string>(table: Readonly<Record<N, string>>) => z.enum(Object.keys(table) as [N, ...N[]]);
const listOf = <const N extends string>(table: Readonly<Record<N, string>>) => z.array(namesOf(table)).max(LIST_MAX, `at most ${LIST_MAX} names`).nullish();
const version = namesOf(VERSIONS).nullish();

export const tlsSchema = section('tls', {
  mode: word(['static', 'dynamicCa']).optional(),
  cert: nonEmpty.nullish(),
  key: nonEmpty.nullish(),
  root: nonEmpty.nullish(),
  spiffe: z.strictObject({}).nullish(),
  minTLSVersion: version,
  minTlsVersion: version,
  maxTLSVersion: version,
  maxTlsVersion: version,
  cipherSuites: listOf(CIPHER_SUITES),
  keyExchangeGroups: listOf(KEY_EXCHANGE_GROUPS),
});

export type TlsDocument = z.infer<typeof tlsSchema>;

interface Secured {
  readonly protocol?: string | null | undefined;
  readonly tls?: TlsDocument | null | undefined;
}

/** Undefined = the listener speaks plain HTTP. `path` is the listener's. */
export function compileTls({ protocol, tls }: Secured, path: Path, compiling: Compiling): ListenerTls | undefined {
  const at = [...path, 'tls'];
  if (tls == null) {
    if (protocol === 'HTTPS') compiling.error(at, 'required, and missing: HTTPS needs a certificate', 'tls: { cert: server.pem, key: server.key }');
    return undefined;
  }
  if (protocol === 'HTTP') compiling.error([...path, 'protocol'], 'HTTP is not encrypted, so tls is not allowed beside it', 'leave protocol out, or write HTTPS');
  const minVersion = VERSIONS[tls.minTLSVersion ?? tls.minTlsVersion ?? 'TLS_V1_2'];
  const maxVersion = VERSIONS[tls.maxTLSVersion ?? tls.maxTlsVersion ?? 'TLS_V1_3'];
  refuseTwice(tls, at, compiling);
  refuseFiles(tls, at, compiling);
  const cipherSuites = [...new Set((tls.cipherSuites ?? []).map((name) => CIPHER_SUITES[name]))];
  if (minVersion > maxVersion) compiling.error(at, 'the least version is newer than the newest one: no client could connect');
  else refuseUnusable(cipherSuites, minVersion, maxVersion, (message) => compiling.error([...at, 'cipherSuites'], message));
  const keyExchangeGroups = (tls.keyExchangeGroups ?? []).map((name) => KEY_EXCHANGE_GROUPS[name]);
  return { at: pathText(at), cert: tls.cert ?? '', key: tls.key ?? '', root: tls.root ?? undefined, minVersion, maxVersion, cipherSuites, keyExchangeGroups, ...(tls.spiffe == null ? {} : { spiffe: true }), ...(tls.mode === 'dynamicCa' ? { dynamicCa: true } : {}) };
}

function refuseFiles(tls: TlsDocument, at: Path, compiling: Compiling): void {
  for (const key of ['root', 'spiffe'] as const) {
    if (tls.mode === 'dynamicCa' && tls[key] != null) compiling.error([...at, key], 'not allowed beside mode dynamicCa: clients of such a listener are not asked for a certificate');
  }
  for (const key of ['cert', 'key', 'root'] as const) {
    if (tls.spiffe != null && tls[key] != null) compiling.error([...at, key], 'not allowed beside spiffe: certificate, key and authorities come from the Workload API');
    if (tls.spiffe == null && tls[key] == null && key !== 'root') compiling.error([...at, key], 'required, and missing: expected a text');
  }
}

/** The reference takes two spellings of these keys. */
function refuseTwice(tls: TlsDocument, at: Path, compiling: Compiling): void {
  for (const [key, other] of [['minTLSVersion', 'minTlsVersion'], ['maxTLSVersion', 'maxTlsVersion']] as const) {
    if (tls[key] != null && tls[other] != null) compiling.error([...at, other], `only one of ${key}, ${other} may be given`);
  }
}

/** OpenSSL would quietly give up a version that has no suite. */
function refuseUnusable(suites: readonly string[], min: TlsVersion, max: TlsVersion, complain: (message: string) => void): void {
  if (suites.length === 0) return;
  const isFor13 = (suite: string): boolean => suite.startsWith('TLS_');
  if (max === 'TLSv1.3' && !suites.some(isFor13)) complain('none of these is for TLS 1.3, which is allowed: add one, or set maxTLSVersion: TLS_V1_2');
  if (min === 'TLSv1.2' && suites.every(isFor13)) complain('none of these is for TLS 1.2, which is allowed: add one, or set minTLSVersion: TLS_V1_3');
}
