/** `backendTLS`: how a connection to a server is secured, and how its certificate is judged. */
import { z } from 'zod';
import { flag, nonEmpty, section } from './section.ts';

const NAMES_MAX = 64;
const ADDRESS = /^[\d.]+$|:/;

const SPIFFE_ID = /^spiffe:\/\/([^/]+)/;

const trustDomainsOf = (names: readonly string[] | null | undefined): ReadonlySet<string> => new Set((names ?? []).flatMap((name) => SPIFFE_ID.exec(name)?.[1] ?? []));

const GROUPS = ['X25519', 'P-256', 'P-384', 'X25519_MLKEM768'] as const;

const alpn = z
  .array(z.enum(['h2', 'http/1.1']))
  .min(1, 'at least one protocol is needed')
  .refine((protocols) => protocols.includes('http/1.1'), '"http/1.1" has to be in the list: a server may have nothing else');

export const backendTlsSchema = section('backendTLS', {
  root: nonEmpty.nullish(),
  cert: nonEmpty.nullish(),
  key: nonEmpty.nullish(),
  hostname: nonEmpty.refine((name) => !ADDRESS.test(name), 'expected a host name: an address cannot be sent as a server name').nullish(),
  insecure: flag.nullish(),
  insecureHost: flag.nullish(),
  alpn: alpn.nullish(),
  subjectAltNames: z.array(nonEmpty).min(1, 'at least one name is needed').max(NAMES_MAX, `at most ${NAMES_MAX} names`).nullish(),
  keyExchangeGroups: z.array(z.enum(GROUPS)).min(1, 'at least one group is needed').nullish(),
  spiffe: z.strictObject({}).nullish(),
}).superRefine(({ cert, key, root, insecure, insecureHost, subjectAltNames, spiffe }, context) => {
  const complain = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
  if (cert != null && key == null) complain('cert', 'a client certificate needs its private key: key');
  if (key != null && cert == null) complain('key', 'a private key needs its certificate: cert');
  for (const [name, value] of Object.entries({ cert, key, root, insecure, insecureHost })) {
    if (spiffe != null && value != null && value !== false) complain(name, 'not allowed beside spiffe: certificate, key and authorities come from the Workload API');
  }
  if (spiffe != null && trustDomainsOf(subjectAltNames).size > 1) complain('subjectAltNames', 'SPIFFE ids of several trust domains: a server is verified by the authorities of one');
  if (subjectAltNames != null && (insecure || insecureHost)) complain('subjectAltNames', 'names cannot be asked for where nothing is verified: leave out insecure and insecureHost');
});

export type BackendTlsDocument = z.output<typeof backendTlsSchema>;

/** Files are named, not read: they may change, and only connectors have them. */
export interface BackendTls {
  /** PEM files. */
  readonly root: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Sent as server name, and looked for in the certificate; undefined = the host of the URL. */
  readonly hostname: string | undefined;
  readonly verify: 'all' | 'chain' | 'nothing';
  readonly alpn: readonly ('h2' | 'http/1.1')[] | undefined;
  /** Of these, instead of the host name, the certificate must have one. */
  readonly subjectAltNames: readonly string[] | undefined;
  readonly keyExchangeGroups: readonly (typeof GROUPS)[number][] | undefined;
  /** Certificate, key and authorities come from the Workload API: those of this trust domain, or, undefined, of our own. */
  readonly spiffe?: { readonly trustDomain: string | undefined };
}

export function backendTls(document: BackendTlsDocument): BackendTls {
  const { root, cert, key, hostname, insecure, insecureHost, alpn: protocols, subjectAltNames, keyExchangeGroups, spiffe } = document;
  return {
    root: root ?? undefined,
    cert: cert ?? undefined,
    key: key ?? undefined,
    hostname: hostname ?? undefined,
    // Of two words the stricter counts.
    verify: insecureHost ? 'chain' : insecure ? 'nothing' : 'all',
    alpn: protocols ?? undefined,
    subjectAltNames: subjectAltNames ?? undefined,
    keyExchangeGroups: keyExchangeGroups ?? undefined,
    ...(spiffe == null ? {} : { spiffe: { trustDomain: [...trustDomainsOf(subjectAltNames)][0] } }),
  };
}
