/**
 * Connections as `backendTLS` asks for them.
 *
 * T1 Files are looked at when a connection is made: a new certificate counts from the next connection on.
 * T2 What cannot be read or used ends the connection, and names target, key and file. Nothing is connected to without it.
 * T3 Names that are pinned (`subjectAltNames`) take the place of the host name: one of them must be in the certificate.
 * T4 With `spiffe` both sides show SVIDs, at each connection anew: no session is resumed, which would outlive them. Their
 *    SPIFFE ids take the place of the host name. A server is verified by the authorities of one trust domain alone, ours or
 *    the federated one that its pinned names are of: no domain's authorities vouch for another's workloads.
 */
import { X509Certificate } from 'node:crypto';
import { type PeerCertificate, type SecureContext, checkServerIdentity, createSecureContext } from 'node:tls';
import { buildConnector } from 'undici';
import type { BackendTls } from '#protocol/config/backend-tls.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { urisOf } from './certificate-names.ts';
import { type FileOwner, NamedFile } from './named-file.ts';
import { type Svid, refusePeer } from './spiffe/svid.ts';
import type { Svids } from './spiffe/svids.ts';
import type { Learn } from './telemetry/secrets.ts';

type Connector = buildConnector.connector;

/** As OpenSSL calls them. */
const CURVES = { X25519: 'X25519', 'P-256': 'prime256v1', 'P-384': 'secp384r1', X25519_MLKEM768: 'X25519MLKEM768' } as const;

/** What a process has for its connections; absent = it has none of that. */
export interface OwnParts {
  readonly svids?: Svids | undefined;
  /** Told of the private keys that are read. */
  readonly learn?: Learn | undefined;
}

interface Connecting extends OwnParts {
  readonly target: string;
  readonly timeoutMs: number;
  /** What else its connections are. */
  readonly options?: buildConnector.BuildOptions;
}

interface Files {
  readonly root: NamedFile | undefined;
  readonly cert: NamedFile | undefined;
  readonly key: NamedFile | undefined;
}

export function securedConnector(tls: BackendTls, connecting: Connecting): Connector {
  if (tls.spiffe !== undefined) return spiffeConnector(tls, connecting);
  const files = filesOf(tls, connecting);
  const fixed = optionsOf(tls, connecting);
  let made: { readonly of: string; readonly connect: Connector } | undefined;
  return (options, callback) => {
    try {
      const texts = [files.root?.text(), files.cert?.text(), files.key?.text()];
      const of = JSON.stringify(texts);
      if (made?.of !== of) made = { of, connect: buildConnector({ ...fixed, secureContext: contextOf(tls, files) }) };
    } catch (error) {
      return callback(error as Error, null);
    }
    made.connect(options, callback);
  };
}

function spiffeConnector(tls: BackendTls, connecting: Connecting): Connector {
  const { target, timeoutMs, svids } = connecting;
  svids?.open();
  let made: { readonly of: Svid; readonly connect: Connector } | undefined;
  return (options, callback) => {
    const connect = (svid: Svid): void => {
      if (made?.of !== svid) {
        const { context, verify } = channelBy(svid, tls, target);
        made = { of: svid, connect: buildConnector({ ...optionsOf(tls, connecting), ...verify, maxCachedSessions: 0, secureContext: context }) };
      }
      made.connect(options, callback);
    };
    svidFor({ target, timeoutMs, svids }).then(connect).catch((error: Error) => callback(error, null));
  };
}

/** Ours, once the agent has answered. @throws Fault (T2) */
export async function svidFor({ target, timeoutMs, svids }: Omit<Connecting, 'learn'>): Promise<Svid> {
  if (svids === undefined) throw noSvid(target, 'not served here');
  return svids.ready(timeoutMs).catch((error: Error) => Promise.reject(noSvid(target, error.message)));
}

const noSvid = (target: string, why: string): Fault => new Fault('upstream', `${target}: backendTLS.spiffe: ${why}`, { target, reason: 'spiffe' });

interface Channel {
  readonly context: SecureContext;
  readonly verify: Verification;
  readonly hostname: string | undefined;
}

/** T4 */
function channelBy({ cert, key, ca, trustDomain: own, federated }: Svid, { spiffe, subjectAltNames, keyExchangeGroups, hostname }: BackendTls, target: string): Channel {
  const trustDomain = spiffe?.trustDomain ?? own;
  const authorities = trustDomain === own ? ca : federated.get(trustDomain);
  if (authorities === undefined) throw noSvid(target, `the SPIFFE Workload API gave no authorities of the trust domain ${trustDomain}: is it federated with ${own}?`);
  const verify: Verification = {
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) => refusePeer(new X509Certificate(certificate.raw), trustDomain) ?? (subjectAltNames === undefined ? undefined : refusePinned(subjectAltNames, certificate)),
  };
  return { context: createSecureContext({ cert, key, ca: authorities, ...groupsOf(keyExchangeGroups) }), verify, hostname };
}

/** The same for a library that makes connections by itself: from the files as they are now, or an SVID. @throws Fault (T2) */
export const securedChannel = (tls: BackendTls, owner: Omit<FileOwner, 'key'>, svid?: Svid): Channel =>
  svid === undefined ? { context: contextOf(tls, filesOf(tls, owner)), verify: verificationOf(tls), hostname: tls.hostname } : channelBy(svid, tls, owner.target);

function filesOf({ root, cert, key }: BackendTls, { target, learn }: Omit<FileOwner, 'key'>): Files {
  const named = (path: string | undefined, at: string): NamedFile | undefined => (path === undefined ? undefined : new NamedFile(path, { target, learn, key: `backendTLS.${at}` }));
  return { root: named(root, 'root'), cert: named(cert, 'cert'), key: named(key, 'key') };
}

interface Verification {
  readonly rejectUnauthorized: boolean;
  readonly checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

function verificationOf({ verify, subjectAltNames }: BackendTls): Verification {
  return {
    rejectUnauthorized: verify !== 'nothing',
    ...(verify === 'chain' ? { checkServerIdentity: () => undefined } : {}),
    ...(subjectAltNames === undefined ? {} : { checkServerIdentity: (_host: string, certificate: PeerCertificate) => refusePinned(subjectAltNames, certificate) }),
  };
}

function optionsOf(tls: BackendTls, { timeoutMs: timeout, options }: Connecting): buildConnector.BuildOptions {
  const { hostname, alpn } = tls;
  return {
    timeout,
    ...verificationOf(tls),
    ...(alpn === undefined ? {} : { allowH2: alpn.includes('h2'), preferH2: alpn[0] === 'h2' }),
    ...(hostname === undefined ? {} : { servername: hostname }),
    ...options,
  };
}

const groupsOf = (groups: BackendTls['keyExchangeGroups']): { readonly ecdhCurve?: string } => (groups === undefined ? {} : { ecdhCurve: groups.map((group) => CURVES[group]).join(':') });

/** @throws Fault (T2) */
function contextOf({ keyExchangeGroups }: BackendTls, { root, cert, key }: Files): SecureContext {
  if (root !== undefined) readable(root);
  if (cert !== undefined) readable(cert);
  try {
    return createSecureContext({ ca: root?.text(), cert: cert?.text(), key: key?.text(), ...groupsOf(keyExchangeGroups) });
  } catch {
    // The words of OpenSSL may quote what they read.
    throw (key ?? cert ?? root)?.unusable('holds no private key of the certificate that can be used') ?? new RangeError('the key exchange groups cannot be used');
  }
}

/** OpenSSL takes text without any certificate for a bundle of none. @throws Fault */
function readable(file: NamedFile): void {
  const text = file.text();
  try {
    if (new X509Certificate(text).raw.length > 0) return;
  } catch {
    // Said below.
  }
  throw file.unusable('holds no certificate that can be read');
}

function refusePinned(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  if (names.some((name) => carries(certificate, name))) return undefined;
  return Object.assign(new Error('the certificate has none of the names it must have'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
}

function carries(certificate: PeerCertificate, name: string): boolean {
  if (!name.includes('://')) return checkServerIdentity(name, certificate) === undefined;
  return urisOf(certificate.subjectaltname ?? '').includes(name);
}
