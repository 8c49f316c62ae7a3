/** A token we sign ourselves (`jwtSign`), and how private keys of the configuration become signatures. */
import { type KeyObject, X509Certificate, createPrivateKey, hash } from 'node:crypto';
import { SignJWT } from 'jose';
import type { SignedToken, Signer } from '#protocol/config/signed-token.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { Held } from './held.ts';
import type { FileOwner } from '#host/named-file.ts';
import { type Outgoing, place } from './outgoing.ts';
import { secretReader } from './secret-reader.ts';

export class SignedCredential implements Credential {
  readonly #config: SignedToken;
  readonly #token: Held<string>;

  constructor(config: SignedToken, { target, learn }: CredentialSurroundings) {
    const { signer, claims, ttlMs } = config;
    const sign = signerOf(signer, { target, key: 'backendAuth.jwtSign.signingKey', learn });
    this.#config = config;
    this.#token = new Held(async () => {
      const value = await sign(claims, ttlMs);
      learn(value, 'passing');
      return { value, goodMs: ttlMs };
    });
  }

  add(outgoing: Outgoing): void | Promise<void> {
    const { location } = this.#config;
    const token = this.#token.get();
    if (typeof token === 'string') return place(token, location, outgoing);
    return token.then((late) => place(late, location, outgoing));
  }
}

/** Claims and how long they are good, to a token. */
export type Sign = (claims: Readonly<Record<string, unknown>>, ttlMs: number) => Promise<string>;

/** @throws Fault `upstream`, when asked to sign, for a key that cannot be used. */
export function signerOf({ key, algorithm, kid, certificate }: Signer, owner: FileOwner): Sign {
  const read = secretReader(key, owner);
  const shown = certificate === undefined ? undefined : certificateReader(certificate, { target: owner.target, key: owner.key.replace(/signingKey$/, 'certificate') });
  let made: { readonly of: string; readonly key: KeyObject } | undefined;
  return async (claims, ttlMs) => {
    const text = read();
    if (made?.of !== text) made = { of: text, key: privateKey(text, owner) };
    const header = shown?.(made.key);
    const now = Math.floor(Date.now() / 1000);
    try {
      return await new SignJWT({ ...claims })
        .setProtectedHeader({ alg: algorithm, typ: 'JWT', ...(kid === undefined ? {} : { kid }), ...header })
        .setIssuedAt(now)
        .setExpirationTime(now + Math.floor(ttlMs / 1000))
        .sign(made.key);
    } catch {
      throw unusable(owner, `no private key for ${algorithm}`);
    }
  };
}

function privateKey(text: string, owner: FileOwner): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw unusable(owner, 'no private key that can be used (PEM)');
  }
}

type Shown = { readonly x5c: string[] } | { readonly 'x5t#S256': string };

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const CHAIN_MAX = 10;

/** What a header shows of a certificate (RFC 7515 §4.1.6, §4.1.8), which has to be that of the key. */
function certificateReader({ chain, header }: NonNullable<Signer['certificate']>, owner: FileOwner): (key: KeyObject) => Shown {
  const read = secretReader(chain, owner);
  return (key) => {
    const certificates = certificatesIn(read(), owner);
    const [leaf] = certificates as [X509Certificate];
    if (!leaf.checkPrivateKey(key)) throw unusable(owner, 'not the certificate of the signingKey');
    return header === 'x5c' ? { x5c: certificates.map(({ raw }) => raw.toString('base64')) } : { 'x5t#S256': hash('sha256', leaf.raw, 'base64url') };
  };
}

/** @throws Fault for text that is no chain. */
export function certificatesIn(text: string, owner: FileOwner): X509Certificate[] {
  try {
    const found = (text.match(PEM_CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem));
    if (found.length > 0 && found.length <= CHAIN_MAX) return found;
  } catch {
    // Said below.
  }
  throw unusable(owner, `no chain of 1 to ${CHAIN_MAX} certificates (PEM)`);
}

/** The words of OpenSSL may quote what they read. */
const unusable = ({ target, key }: FileOwner, what: string): Fault => new Fault('upstream', `${target}: ${key}: this is ${what}`, { target, reason: 'credential' });
