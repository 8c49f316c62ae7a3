/** X.509-SVIDs: what an agent hands out, made into what TLS takes; and whether the certificate of a peer is one (X509-SVID §2, §4, §5). */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { urisOf } from '../certificate-names.ts';

const CHAIN_MAX = 16;
const BUNDLE_MAX = 1_000;
const FEDERATED_MAX = 256;
const ID_CHARS_MAX = 2048;

export interface Svid {
  readonly id: string;
  readonly trustDomain: string;
  /** PEM: our own chain, its key, and the authorities of our trust domain. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** PEM: the authorities of other trust domains that ours is federated with, by their names. */
  readonly federated: ReadonlyMap<string, string>;
  /** Unix ms. */
  readonly validTo: number;
}

/** As the Workload API writes it; certificates in DER, one after the other. */
export interface X509SvidResponse {
  readonly svids: readonly { readonly spiffe_id: string; readonly x509_svid: Uint8Array; readonly x509_svid_key: Uint8Array; readonly bundle: Uint8Array }[];
  /** By the SPIFFE id of the trust domain. */
  readonly federated_bundles?: Readonly<Record<string, Uint8Array>>;
}

/** The first is the one to use where several are given. @throws Error in words that quote nothing of it. */
export function readSvid({ svids, federated_bundles: bundles = {} }: X509SvidResponse, now: number): Svid {
  const [first] = svids;
  if (first === undefined) throw new Error('it gave no SVID');
  const [leaf, ...others] = certificatesIn(first.x509_svid, CHAIN_MAX, 'the SVID');
  if (leaf === undefined) throw new Error('the SVID has no certificate');
  const ca = authoritiesIn(first.bundle, 'the trust bundle');
  const id = spiffeIdOf(leaf);
  if (id === undefined || id !== first.spiffe_id) throw new Error('the certificate does not carry the SPIFFE id it was given with');
  const validTo = leaf.validToDate.getTime();
  if (validTo <= now) throw new Error('the SVID has ended');
  return { id, trustDomain: trustDomainOf(id), cert: [leaf, ...others].join(''), key: keyOf(leaf, first.x509_svid_key), ca, federated: federatedIn(bundles), validTo };
}

/** Undefined = the certificate is no SVID of a workload. */
export function spiffeIdOf(certificate: X509Certificate): string | undefined {
  const uris = urisOf(certificate.subjectAltName ?? '');
  const [id = ''] = uris;
  return uris.length === 1 && !certificate.ca && isSpiffeId(id) ? id : undefined;
}

/** Its chain was verified already. Undefined = it is a member of the trust domain. */
export function refusePeer(certificate: X509Certificate | undefined, trustDomain: string): Error | undefined {
  const id = certificate === undefined ? undefined : spiffeIdOf(certificate);
  if (id === undefined) return refusal('the certificate is no SVID');
  return trustDomainOf(id) === trustDomain ? undefined : refusal('the certificate is of another trust domain');
}

const refusal = (message: string): Error => Object.assign(new Error(message), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });

const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[a-zA-Z0-9._-]+)*$/;

const isSpiffeId = (text: string): boolean => text.length <= ID_CHARS_MAX && SPIFFE_ID.test(text);

const trustDomainOf = (id: string): string => id.split('/')[2] ?? '';

function keyOf(leaf: X509Certificate, der: Uint8Array): string {
  const key = privateKey(der);
  if (!leaf.checkPrivateKey(key)) throw new Error('the private key is not that of the SVID');
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function privateKey(der: Uint8Array): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  } catch {
    throw new Error('the private key cannot be read');
  }
}

function federatedIn(bundles: Readonly<Record<string, Uint8Array>>): ReadonlyMap<string, string> {
  const domains = Object.keys(bundles);
  if (domains.length > FEDERATED_MAX) throw new Error(`it gave the bundles of more than ${FEDERATED_MAX} other trust domains`);
  if (!domains.every(isSpiffeId)) throw new Error('a bundle of another trust domain has no SPIFFE id');
  return new Map(Object.entries(bundles).map(([id, bundle]) => [trustDomainOf(id), authoritiesIn(bundle, `the trust bundle of ${id}`)]));
}

function authoritiesIn(bundle: Uint8Array, of: string): string {
  const authorities = certificatesIn(bundle, BUNDLE_MAX, of);
  if (authorities.length === 0) throw new Error(`${of} is empty`);
  return authorities.join('');
}

function certificatesIn(bytes: Uint8Array, max: number, of: string): X509Certificate[] {
  const found: X509Certificate[] = [];
  try {
    for (let at = 0; at < bytes.length; at += derLength(bytes, at)) {
      if (found.length === max) break;
      found.push(new X509Certificate(bytes.subarray(at, at + derLength(bytes, at))));
    }
  } catch {
    throw new Error(`${of} cannot be read`);
  }
  if (found.reduce((sum, { raw }) => sum + raw.length, 0) !== bytes.length) throw new Error(`${of} has more than ${max} certificates`);
  return found;
}

/** Of the whole element that begins there (X.690 §8.1.3). */
function derLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at + 1] ?? 0;
  if (first < 0x80) return 2 + first;
  const digits = first & 0x7f;
  let length = 0;
  for (let index = 0; index < digits && index < 4; index++) length = length * 256 + (bytes[at + 2 + index] ?? 0);
  return 2 + digits + length;
}
