/** The files of a listener's `tls`: read, looked at, and made into what node's TLS takes. Shared with `parley check`. */
import { type KeyObject, X509Certificate, constants, createPrivateKey } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { SecureContextOptions } from 'node:tls';
import type { Svids } from '#host/spiffe/svids.ts';
import type { ListenerTls } from '#protocol/config/generation.ts';
import { signingOf } from './signing.ts';

/** A chain, or the authorities of a large company. */
const FILE_BYTES_MAX = 1024 * 1024;

export type FileKey = 'cert' | 'key' | 'root';

export interface CredentialsProblem {
  readonly key: FileKey | 'spiffe';
  readonly file: string;
  readonly message: string;
  readonly hint: string;
}

export interface Credentials {
  /** With an authority, all but the certificate and its key. */
  readonly options: SecureContextOptions;
  /** When the certificate ends. */
  readonly validTo: Date;
  /** Of `mode: dynamicCa`. */
  readonly authority?: Issued;
}

/** A certificate, with those that lead to its authority, and its key; PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export type LoadedCredentials = { readonly credentials: Credentials } | { readonly problem: CredentialsProblem };

class Unusable extends Error {
  readonly problem: CredentialsProblem;

  constructor(problem: CredentialsProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Never throws. No message quotes what is in a file. */
export async function loadCredentials(tls: ListenerTls): Promise<LoadedCredentials> {
  try {
    const cert = await readPem(tls, 'cert');
    const key = await readPem(tls, 'key');
    const root = tls.root === undefined ? undefined : await readPem(tls, 'root');
    const [leaf] = certificatesIn(cert, tls, 'cert');
    if (root !== undefined) certificatesIn(root, tls, 'root');
    const privateKey = checkKey(leaf, key, tls);
    const options: SecureContextOptions = { cert, key, ...(root === undefined ? {} : { ca: root }), ...negotiation(tls) };
    checkTogether(options, tls);
    const validTo = leaf.validToDate;
    if (tls.dynamicCa !== true) return { credentials: { options, validTo } };
    checkAuthority(leaf, privateKey, tls);
    return { credentials: { options: negotiation(tls), validTo, authority: { cert, key } } };
  } catch (error) {
    if (error instanceof Unusable) return { problem: error.problem };
    return { problem: { key: 'cert', file: tls.cert, message: `cannot be used: ${(error as Error).name}`, hint: 'make certificate and key again' } };
  }
}

/** How long a port waits for the first answer of an agent, before it is tried again later. */
const FIRST_ANSWER_MS = 2_000;

/** The same from the Workload API: clients must show an SVID, and show it again at each connection, since a ticket would outlive it. Never throws. */
export async function loadSvid(tls: ListenerTls, svids: Svids | undefined): Promise<LoadedCredentials> {
  try {
    if (svids === undefined) throw new Error('not served here');
    const { cert, key, ca, validTo } = await svids.ready(FIRST_ANSWER_MS);
    const options: SecureContextOptions = { cert, key, ca, secureOptions: constants.SSL_OP_NO_TICKET, ...negotiation(tls) };
    createSecureContext(options);
    return { credentials: { options, validTo: new Date(validTo) } };
  } catch (error) {
    return { problem: { key: 'spiffe', file: '', message: (error as Error).message, hint: 'is the agent running, and is this process registered with it?' } };
  }
}

const negotiation = ({ minVersion, maxVersion, cipherSuites, keyExchangeGroups }: ListenerTls): SecureContextOptions => ({
  minVersion,
  maxVersion,
  honorCipherOrder: true,
  ...(cipherSuites.length === 0 ? {} : { ciphers: cipherSuites.join(':') }),
  ...(keyExchangeGroups.length === 0 ? {} : { ecdhCurve: keyExchangeGroups.join(':') }),
});

async function readPem(tls: ListenerTls, key: FileKey): Promise<string> {
  const file = tls[key] ?? '';
  try {
    const { size } = await stat(file);
    if (size > FILE_BYTES_MAX) throw unusable(tls, key, `is ${size} bytes; at most ${FILE_BYTES_MAX} are read`, 'is it the right file?');
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Unusable) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw unusable(tls, key, `cannot be read: ${REASONS[code] ?? code}`, 'check the path, as seen from where ingress runs, and that its user may read it');
  }
}

const REASONS: Readonly<Record<string, string>> = { ENOENT: 'there is no such file', EACCES: 'permission denied', EISDIR: 'it is a directory' };

const unusable = (tls: ListenerTls, key: FileKey, message: string, hint: string): Unusable => new Unusable({ key, file: tls[key] ?? '', message, hint });

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** All that are in the file, at least one; the first of `cert` is the server's own. */
function certificatesIn(pem: string, tls: ListenerTls, key: FileKey): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = (pem.match(PEM_CERTIFICATE) ?? []).map((one) => new X509Certificate(one));
    if (first !== undefined) return [first, ...others];
  } catch {
    throw unusable(tls, key, 'holds a certificate that cannot be read', 'write it again: it is damaged, or was cut off');
  }
  throw unusable(tls, key, 'holds no certificate', 'PEM is expected: -----BEGIN CERTIFICATE-----');
}

function checkKey(leaf: X509Certificate, pem: string, tls: ListenerTls): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (error) {
    const encrypted = (error as NodeJS.ErrnoException).code === 'ERR_MISSING_PASSPHRASE' || pem.includes('ENCRYPTED');
    if (encrypted) throw unusable(tls, 'key', 'is encrypted with a passphrase', 'take the passphrase off: openssl pkey -in key.pem -out plain.pem');
    throw unusable(tls, 'key', 'holds no private key', 'PEM is expected: -----BEGIN PRIVATE KEY-----');
  }
  if (!leaf.checkPrivateKey(key)) throw unusable(tls, 'key', 'does not belong to the certificate in cert', 'the first certificate of cert must be the one made for this key');
  return key;
}

function checkAuthority(certificate: X509Certificate, key: KeyObject, tls: ListenerTls): void {
  if (!certificate.ca) throw unusable(tls, 'cert', 'is the certificate of no authority, so clients take none that it signed', 'mode dynamicCa needs one with "CA:TRUE", and "Certificate Sign" where it says what its key is for');
  if (signingOf(key) === undefined) throw unusable(tls, 'key', 'is of a kind that certificates are not signed with here', 'make an authority whose key is RSA, P-256, P-384 or P-521');
}

/** What only OpenSSL knows, such as a key that is too weak for it. */
function checkTogether(options: SecureContextOptions, tls: ListenerTls): void {
  try {
    createSecureContext(options);
  } catch (error) {
    throw unusable(tls, 'cert', `is refused by OpenSSL: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`, 'make a certificate and key of a common kind: RSA of 2048 bits or more, or P-256');
  }
}
