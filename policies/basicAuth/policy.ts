/**
 * Who calls, by user name and password.
 *
 * B1 A password is checked once, then remembered for a short time by a digest made with a random key of this process: what
 *    is remembered is no use to anybody else, and a call in steady state costs one digest.
 * B2 Checks run one after the other, at most CHECKS_MAX of them wait: bcrypt works in one of the few threads that files, names of
 *    hosts and signatures need too, so who tries passwords has one of them at most, and no time of the event loop.
 * B3 A name that nobody has is checked against somebody's entry, always the same one, and fails: how long a no takes does not
 *    tell which names there are.
 * B4 No verdict, fact or message holds a password, and only a verdict on a right one holds a name.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { Fault } from '#protocol/faults/fault.ts';
import { SEVERAL, UNREADABLE, credentialReader, locationSchema } from '../credential.ts';
import type { CredentialLocation } from '../credential.ts';
import { parseHtpasswd } from '../htpasswd.ts';
import type { Verify } from '../htpasswd.ts';
import { definePolicy, deny, learned, pass } from '../policy.ts';
import type { CompiledPolicy, Deny, HeaderList, PolicyDeps, Verdict } from '../policy.ts';

const CREDENTIALS_CHARS_MAX = 1024;
const REALM_CHARS_MAX = 128;
const PATH_CHARS_MAX = 4096;
const HTPASSWD_CHARS_MAX = 1024 * 1024;
/** Different credentials under way at once; those of a crowd with one password count once. */
const CHECKS_MAX = 32;
const REMEMBERED_MAX = 1000;
const REMEMBERED_MS = 60_000;
const PEPPER_BYTES = 32;

const inline = z
  .string()
  .max(HTPASSWD_CHARS_MAX, `at most ${HTPASSWD_CHARS_MAX} characters`)
  .superRefine((text, context) => {
    const [message] = parseHtpasswd(text).problems;
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });
const file = z.strictObject({ file: z.string().min(1, 'expected the path of a file').max(PATH_CHARS_MAX, `at most ${PATH_CHARS_MAX} characters`) });

const schema = z.strictObject({
  htpasswd: z.union([inline, file], { error: 'expected the lines of an htpasswd file, or a map with the key file' }),
  realm: z
    .string()
    .max(REALM_CHARS_MAX, `at most ${REALM_CHARS_MAX} characters`)
    .regex(/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/, 'expected visible ASCII characters and spaces, without " and \\')
    .nullish(),
  mode: z.enum(['strict', 'optional']).nullish(),
  authorizationLocation: locationSchema.nullish(),
});

type BasicAuthConfig = z.output<typeof schema>;

const DEFAULT_REALM = 'Restricted';
const DEFAULT_LOCATION: CredentialLocation = { header: { name: 'authorization', prefix: 'Basic ' } };

export const basicAuth = definePolicy({ id: 'basicAuth', schema, compile: compileBasicAuth });

/** @throws Fault `invalid` for a file that cannot be read or has a line that cannot be used. */
function compileBasicAuth(config: BasicAuthConfig, deps: PolicyDeps): CompiledPolicy {
  const location = config.authorizationLocation ?? DEFAULT_LOCATION;
  const judge = new Judge(usersOf(config.htpasswd, deps), deps.now);
  const read = credentialReader(location, deps);
  const no = refusals(config.realm ?? DEFAULT_REALM, location.header?.name.toLowerCase() === 'proxy-authorization');
  return {
    apply(call, facts) {
      const presented = read(call, facts);
      if (presented === undefined) return config.mode === 'strict' ? no.missing : pass;
      if (presented === SEVERAL) return no.duplicate;
      const credentials = presented === UNREADABLE ? undefined : credentialsOf(presented);
      if (credentials === undefined) return no.malformed;
      const judged = judge.of(credentials);
      return judged instanceof Promise ? judged.then((late) => late ?? no.wrong) : (judged ?? no.overloaded);
    },
  };
}

function usersOf(htpasswd: BasicAuthConfig['htpasswd'], deps: PolicyDeps): ReadonlyMap<string, Verify> {
  const text = typeof htpasswd === 'string' ? htpasswd : deps.file(htpasswd.file);
  const { users, problems } = parseHtpasswd(text);
  const where = typeof htpasswd === 'string' ? 'htpasswd' : `the file ${htpasswd.file}`;
  if (problems[0] !== undefined) throw new Fault('invalid', `basicAuth: ${where}: ${problems[0]}`);
  return users;
}

interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** RFC 7617: base64 of `name:password`, in UTF-8, without control characters; a name has no colon. */
function credentialsOf(presented: string): Credentials | undefined {
  if (presented.length > CREDENTIALS_CHARS_MAX || !/^[A-Za-z0-9+/]+={0,2}$/.test(presented)) return undefined;
  const text = Buffer.from(presented, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  // Bytes that are no UTF-8 come out as this character, and two different passwords must not become one.
  if (colon < 0 || text.includes('\ufffd') || /\p{Cc}/u.test(text)) return undefined;
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Which credentials are right: remembered, being checked, or to be checked. */
class Judge {
  readonly #users: ReadonlyMap<string, Verify>;
  readonly #entries: readonly Verify[];
  readonly #now: () => number;
  readonly #pepper = randomBytes(PEPPER_BYTES);
  readonly #remembered = new Map<string, { readonly verdict: Verdict; readonly at: number }>();
  readonly #checks = new Map<string, Promise<Verdict | undefined>>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(users: ReadonlyMap<string, Verify>, now: () => number) {
    this.#users = users;
    this.#entries = [...users.values()];
    this.#now = now;
  }

  /** At once what is remembered, or undefined when too many are being checked; a promise of undefined is a no. */
  of(credentials: Credentials): Verdict | undefined | Promise<Verdict | undefined> {
    const id = this.#digest(`${credentials.username}:${credentials.password}`).toString('base64');
    const known = this.#remembered.get(id);
    if (known !== undefined && this.#isFresh(known.at)) return known.verdict;
    const underWay = this.#checks.get(id);
    if (underWay !== undefined) return underWay;
    if (this.#checks.size >= CHECKS_MAX) return undefined;
    const check = this.#last.then(() => this.#check(id, credentials)).finally(() => this.#checks.delete(id));
    this.#checks.set(id, check);
    this.#last = check.catch(() => undefined);
    return check;
  }

  async #check(id: string, { username, password }: Credentials): Promise<Verdict | undefined> {
    const own = this.#users.get(username);
    const right = await (own ?? this.#somebody(username))(password);
    if (own === undefined || !right) return undefined;
    const verdict = Object.freeze(learned({ principal: `basic:${username}`, basicAuth: { username } }));
    this.#remembered.delete(id);
    this.#remembered.set(id, { verdict, at: this.#now() });
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > REMEMBERED_MAX && oldest !== undefined) this.#remembered.delete(oldest);
    return verdict;
  }

  /** A clock that was set back does not make anything last longer. */
  #isFresh(at: number): boolean {
    const age = this.#now() - at;
    return age >= 0 && age < REMEMBERED_MS;
  }

  #somebody(username: string): Verify {
    const index = this.#digest(username).readUInt32BE() % this.#entries.length;
    return this.#entries[index] as Verify;
  }

  #digest(text: string): Buffer {
    return createHmac('sha256', this.#pepper).update(text).digest();
  }
}

type Reason = 'missing' | 'duplicate' | 'malformed' | 'wrong';

/** A credential for a proxy is asked for with 407 (RFC 9110 11.7). */
function refusals(realm: string, proxy: boolean): Readonly<Record<Reason | 'overloaded', Deny>> {
  const challenge: HeaderList = [[proxy ? 'proxy-authenticate' : 'www-authenticate', `Basic realm="${realm}"`]];
  const no = (why: Reason, message: string): Deny => ({ ...deny(proxy ? 407 : 401, `basicAuth/${why}`, message), responseHeaders: challenge });
  return {
    missing: no('missing', 'a user name and a password are required'),
    duplicate: no('duplicate', 'more than one user name and password were sent'),
    malformed: no('malformed', 'the user name and the password cannot be read'),
    wrong: no('wrong', 'the user name or the password is wrong'),
    overloaded: { ...deny(503, 'basicAuth/overloaded', 'too many passwords are being checked; try again shortly'), responseHeaders: [['retry-after', '1']] },
  };
}
