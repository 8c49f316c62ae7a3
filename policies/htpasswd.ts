/**
 * The users of an htpasswd file: `name:hash`, one a line, with the hashes of `htpasswd -B` (bcrypt), `-m` (apr1) and `-s`
 * (SHA-1). Problems name the line and never say what is on it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

const USERS_MAX = 10_000;
const NAME_CHARS_MAX = 255;
/** Beyond this, one login keeps a core busy for more than a second. */
const BCRYPT_COST_MAX = 14;

/** Whether this is the password. A promise where that takes so long that others must have their turn meanwhile. */
export type Verify = (password: string) => boolean | Promise<boolean>;

export interface Htpasswd {
  readonly users: ReadonlyMap<string, Verify>;
  readonly problems: readonly string[];
}

export function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, Verify>();
  const problems: string[] = [];
  for (const [index, written] of text.split('\n').entries()) {
    const line = written.trim();
    if (line === '' || line.startsWith('#')) continue;
    const user = userOf(line);
    const why = typeof user === 'string' ? user : users.has(user.name) ? 'the user is there twice' : undefined;
    if (why !== undefined) problems.push(`line ${index + 1}: ${why}`);
    else if (typeof user !== 'string') users.set(user.name, user.verify);
  }
  if (users.size > USERS_MAX) problems.push(`${users.size} users; at most ${USERS_MAX} are read`);
  if (users.size === 0 && problems.length === 0) problems.push('there is no user in it');
  return { users, problems };
}

/** @returns what is wrong, when something is */
function userOf(line: string): { readonly name: string; readonly verify: Verify } | string {
  const colon = line.indexOf(':');
  if (colon < 1) return 'expected a user name, a colon and a hash';
  const name = line.slice(0, colon);
  if (name.length > NAME_CHARS_MAX) return `a user name has at most ${NAME_CHARS_MAX} characters`;
  if (/\p{Cc}/u.test(name)) return 'a user name has no control characters';
  const verify = verifierOf(line.slice(colon + 1));
  return typeof verify === 'string' ? verify : { name, verify };
}

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
const APR1 = /^\$apr1\$([./A-Za-z0-9]{1,8})\$([./A-Za-z0-9]{22})$/;
const SHA1 = /^\{SHA\}([A-Za-z0-9+/]{27}=)$/;
/** crypt(3): DES, and what glibc puts behind `$1$`, `$5$`, `$6$` and `$y$`. */
const CRYPT = /^(?:[./A-Za-z0-9]{13}|\$(?:1|5|6|y|7|gy)\$.*)$/;

function verifierOf(hash: string): Verify | string {
  const cost = BCRYPT.exec(hash)?.[1];
  if (cost !== undefined) {
    if (Number(cost) < 4 || Number(cost) > BCRYPT_COST_MAX) return `a bcrypt hash has a cost of 4 to ${BCRYPT_COST_MAX}`;
    // `$2y$` is what htpasswd writes and `$2b$` what everybody else does; the hash is the same.
    const written = hash.replace('$2y$', '$2b$');
    return async (password) => (await bcrypt()).compare(password, written);
  }
  const [, salt, expected] = APR1.exec(hash) ?? [];
  if (salt !== undefined && expected !== undefined) return (password) => equal(apr1(password, salt), expected);
  const sha1 = SHA1.exec(hash)?.[1];
  if (sha1 !== undefined) return (password) => equal(createHash('sha1').update(password).digest('base64'), sha1);
  if (CRYPT.test(hash)) return 'hashes of crypt are not supported: make the entry anew with htpasswd -B';
  return 'the hash is none of bcrypt, apr1 and {SHA}';
}

/** Native code, which works in a thread: loaded by whoever has such a hash. */
const bcrypt = (): Promise<typeof import('bcrypt')> => import('bcrypt');

/** Both are digests of one kind, so their length tells nothing. */
const equal = (one: string, other: string): boolean => one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other));

const ROUNDS = 1000;
const DIGEST_BYTES = 16;
const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Which bytes of the digest make which characters: three bytes, lowest last, become four characters, lowest first. */
const TRIPLES = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] as const;

const md5 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** Apache's MD5 (httpd's apr_md5.c, after FreeBSD's crypt): about 2 ms, in one go. */
function apr1(text: string, saltText: string): string {
  const [password, salt] = [Buffer.from(text), Buffer.from(saltText)];
  const mixed = md5(password, salt, password);
  const begin: Uint8Array[] = [password, Buffer.from('$apr1$'), salt];
  for (let left = password.length; left > 0; left -= DIGEST_BYTES) begin.push(mixed.subarray(0, Math.min(DIGEST_BYTES, left)));
  for (let bits = password.length; bits > 0; bits >>= 1) begin.push((bits & 1) === 1 ? Buffer.alloc(1) : password.subarray(0, 1));
  let digest = md5(...begin);
  for (let round = 0; round < ROUNDS; round += 1) {
    const odd = round % 2 === 1;
    const parts = [odd ? password : digest, ...(round % 3 === 0 ? [] : [salt]), ...(round % 7 === 0 ? [] : [password]), odd ? digest : password];
    digest = md5(...parts);
  }
  const at = (index: number): number => digest[index] ?? 0;
  return TRIPLES.map(([high, middle, low]) => characters((at(high) << 16) | (at(middle) << 8) | at(low), 4)).join('') + characters(at(11), 2);
}

function characters(value: number, count: number): string {
  let text = '';
  for (let left = value, index = 0; index < count; index += 1, left >>= 6) text += ALPHABET[left & 63] ?? '';
  return text;
}
