/**
 * Certificates for one test, of an authority that lives as long: nothing secret lies in the tree, and no program or
 * package is needed. X.509 in DER (RFC 5280), as far as a TLS handshake looks at it.
 */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const VALID_MS = 24 * 3600_000;
const RSA_BITS = 2048;
/** A clock that is a little behind must not refuse what was made just now. */
const EARLIER_MS = 3600_000;

export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

export interface Names {
  readonly dns?: readonly string[];
  readonly uris?: readonly string[];
  readonly ipv4?: readonly string[];
}

/** PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** PEM. */
  readonly ca: string;
  /** Of the authority itself. */
  readonly key: string;
  /** For both sides of a connection, since an hour ago and for `validMs` from now. */
  issue(subject: string, names?: Names, validMs?: number): Issued;
}

export function makeAuthority(name = 'Parley test authority', { kind = 'ec', validMs: authorityMs = VALID_MS }: { readonly kind?: 'ec' | 'rsa'; readonly validMs?: number } = {}): Authority {
  const { publicKey, privateKey } = kind === 'ec' ? keys() : generateKeyPairSync('rsa', { modulusLength: RSA_BITS });
  const issuer = { name, key: privateKey };
  return {
    ca: certificate({ subject: name, publicKey, issuer, extensions: [IS_AUTHORITY], validMs: authorityMs }),
    key: pemOf(privateKey),
    issue: (subject, names, validMs = VALID_MS) => {
      const own = keys();
      const extensions = [USED_BY_BOTH_SIDES, ...(names === undefined ? [] : [alternativeNames(names)])];
      const cert = certificate({ subject, publicKey: own.publicKey, issuer, extensions, validMs });
      return { cert, key: pemOf(own.privateKey) };
    },
  };
}

/** Paths of PEM files in the folder; the server's certificate is for localhost and 127.0.0.1. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const authority = makeAuthority();
  const server = authority.issue('server', { dns: ['localhost'], ipv4: ['127.0.0.1'] });
  const client = authority.issue('client');
  const save = async (name: string, text: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  return {
    ca: await save('ca.pem', authority.ca),
    serverCert: await save('server.pem', server.cert),
    serverKey: await save('server.key', server.key),
    clientCert: await save('client.pem', client.cert),
    clientKey: await save('client.key', client.key),
  };
}

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

const keys = (): { publicKey: KeyObject; privateKey: KeyObject } => generateKeyPairSync('ec', { namedCurve: 'P-256' });

interface Wanted {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: { readonly name: string; readonly key: KeyObject };
  readonly extensions: readonly Buffer[];
  readonly validMs: number;
}

function certificate({ subject, publicKey, issuer, extensions, validMs }: Wanted): string {
  const algorithm = issuer.key.asymmetricKeyType === 'ec' ? sequence(oid('1.2.840.10045.4.3.2')) : sequence(oid('1.2.840.113549.1.1.11'), tagged(0x05, Buffer.alloc(0))); // ecdsa-with-SHA256, sha256WithRSAEncryption
  const serial = Buffer.concat([Buffer.from([1]), randomBytes(15)]);
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))), // version 3
    integer(serial),
    algorithm,
    distinguishedName(issuer.name),
    sequence(time(Date.now() - EARLIER_MS), time(Date.now() + validMs)),
    distinguishedName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions)),
  );
  const whole = sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, issuer.key)])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => tagged(0x30, Buffer.concat(parts));
const integer = (bytes: Buffer): Buffer => tagged(0x02, bytes);
const time = (at: number): Buffer => tagged(0x17, Buffer.from(`${new Date(at).toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`));
const distinguishedName = (name: string): Buffer => sequence(tagged(0x31, sequence(oid('2.5.4.3'), tagged(0x0c, Buffer.from(name)))));

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = rest.flatMap((arc) => {
    const digits = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  });
  return tagged(0x06, Buffer.from([first * 40 + second, ...bytes]));
}

const extension = (id: string, value: Buffer, critical = false): Buffer =>
  sequence(oid(id), ...(critical ? [tagged(0x01, Buffer.from([0xff]))] : []), tagged(0x04, value));

const IS_AUTHORITY = extension('2.5.29.19', sequence(tagged(0x01, Buffer.from([0xff]))), true);
/** serverAuth and clientAuth: members of a cluster are both to each other. */
const USED_BY_BOTH_SIDES = extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2')));

const alternativeNames = ({ dns = [], uris = [], ipv4 = [] }: Names): Buffer =>
  extension(
    '2.5.29.17',
    sequence(
      ...dns.map((name) => tagged(0x82, Buffer.from(name))),
      ...uris.map((uri) => tagged(0x86, Buffer.from(uri))),
      ...ipv4.map((address) => tagged(0x87, Buffer.from(address.split('.').map(Number)))),
    ),
  );
