/**
 * Secrets that an operator wrote into the gateway document itself: published without them, and they beside it, sealed for the
 * policy service and connectors (docs/decisions/0031-secrets-in-the-document-are-sealed.md).
 *
 * D1 Sealed with AES-256-GCM (a compact JWE, `dir`) under a key that no other service has.
 * D2 Opened in the document they were sealed beside, and in no other: who can write the bucket cannot have a secret sent
 *    somewhere else.
 * D3 Keys of callers are published as their hashes, since ingress compares them, and has no key of ours.
 */
import { createHash } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { expandVariables, variableNames } from '#protocol/config/expand.ts';
import { canonicalJson } from '#protocol/config/keys.ts';
import { type Path, valueAt } from '#protocol/config/problem.ts';
import { WITHHELD, callerKeyPaths, sealedPaths } from '#protocol/config/secret-paths.ts';
import type { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type ConfigRecord, sealedSecrets } from '#protocol/records/config.ts';

const ENCRYPTION = 'A256GCM';
const OPENING = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: [ENCRYPTION] };
const KEY_ID_CHARS = 16;

/** The first one seals; all open. */
export type DocumentKeys = readonly [Secret, ...Secret[]];

type Plain = Omit<ConfigRecord & { v: 1 }, 'v'>;

export class DocumentSeal {
  readonly #found: () => Promise<DocumentKeys>;
  #keys: Promise<DocumentKeys> | undefined;

  /** @param found asked when there is something to seal or to open, until it has an answer. */
  constructor(found: () => Promise<DocumentKeys>) {
    this.#found = found;
  }

  /** @throws Fault when there is no key. */
  async seal({ document, ...record }: Plain): Promise<ConfigRecord> {
    const hashed = structuredClone(document);
    for (const path of callerKeyPaths(hashed)) hashKey(hashed, path);
    const places = sealedPaths(hashed);
    if (places.length === 0) return { v: 1, ...record, document: hashed };
    const secrets = places.map((path) => [path, String(valueAt(hashed, path))] as const);
    for (const path of places) put(hashed, path, WITHHELD);
    const [key] = await this.#ours();
    const sealed = await new CompactEncrypt(Buffer.from(JSON.stringify({ document: digestOf(hashed), secrets })))
      .setProtectedHeader({ alg: 'dir', enc: ENCRYPTION, kid: idOf(key) })
      .encrypt(bytesOf(key));
    return { v: 2, ...record, document: hashed, sealed };
  }

  /** The document with the secrets that were sealed, and these. @throws Fault for what was not sealed by one of us, for this document. */
  async open({ document, sealed }: ConfigRecord & { v: 2 }): Promise<{ readonly document: unknown; readonly secrets: readonly string[] }> {
    const key = (await this.#ours()).find((one) => idOf(one) === sealedBy(sealed));
    if (key === undefined) throw unopened('they are sealed by another key');
    const { document: digest, secrets } = await decrypted(sealed, key);
    if (digest !== digestOf(document)) throw unopened('they are of another document');
    const opened = structuredClone(document);
    for (const [path, secret] of secrets) put(opened, path, secret);
    return { document: opened, secrets: secrets.map(([, secret]) => secret) };
  }

  #ours(): Promise<DocumentKeys> {
    this.#keys ??= this.#found().catch((error: unknown) => {
      this.#keys = undefined;
      throw error;
    });
    return this.#keys;
  }
}

/** Whether both say the same, under the same key. */
export const sameRecord = (one: ConfigRecord, other: ConfigRecord): boolean =>
  one.id === other.id && digestOf(one.document) === digestOf(other.document) && sealedBy(sealedOf(one)) === sealedBy(sealedOf(other));

const sealedOf = (record: ConfigRecord): string | undefined => (record.v === 2 ? record.sealed : undefined);

function sealedBy(sealed: string | undefined): string | undefined {
  try {
    return sealed === undefined ? undefined : decodeProtectedHeader(sealed).kid;
  } catch {
    return '';
  }
}

async function decrypted(sealed: string, key: Secret): Promise<ReturnType<typeof sealedSecrets.parse>> {
  try {
    const { plaintext } = await compactDecrypt(sealed, bytesOf(key), OPENING);
    return sealedSecrets.parse(JSON.parse(Buffer.from(plaintext).toString('utf8')));
  } catch {
    // Not the cause: it may quote what is in it.
    throw unopened('they are damaged');
  }
}

const unopened = (why: string): Fault =>
  new Fault('invalid', `the secrets of the configuration in NATS cannot be opened: ${why}. The policy service and connectors need the same PARLEY_CONFIG_KEY`, { reason: 'config-key' });

const digestOf = (document: unknown): string => createHash('sha256').update(canonicalJson(document)).digest('hex');

const bytesOf = (key: Secret): Uint8Array => Buffer.from(key.reveal(), 'hex');

const idOf = (key: Secret): string => createHash('sha256').update(bytesOf(key)).digest('hex').slice(0, KEY_ID_CHARS);

/** One that is a variable, or holds some, is left to the processes that have them. */
function hashKey(document: unknown, path: Path): void {
  const written = String(valueAt(document, path));
  if (variableNames(written).size > 0) return;
  const key = String(expandVariables(written, {}).document);
  const entry = valueAt(document, path.slice(0, -1)) as Record<string, unknown>;
  delete entry['key'];
  entry['keyHash'] = `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

function put(document: unknown, path: Path, text: string): void {
  const owner = valueAt(document, path.slice(0, -1));
  if (typeof owner === 'object' && owner !== null) (owner as Record<string | number, unknown>)[path.at(-1) ?? ''] = text;
}
