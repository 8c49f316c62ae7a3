/**
 * The secrets this process knows, taken out of whatever it tells: a server prints its environment, an error quotes a header.
 * Known are what `$VAR` of the configuration stood for, variables and settings whose names say that they hold a secret, and
 * what lets us in at NATS and at the collector of traces; and what is read from files and had from others as the process runs
 * (`learn`). What was never told to us as one cannot be known.
 */

/** Less would take ordinary words out of every line. */
export const SECRET_CHARS_MIN = 8;
/** More are not looked for: each line is searched for each. So many of the environment, and the last so many of files. */
export const SECRETS_MAX = 10_000;
/** Of those that are had and pass, such as tokens for callers: the last ones. Each line and each audited call is searched for each. */
export const PASSING_MAX = 128;
const MASK = '[redacted]';

const SECRET_NAME = /authori[sz]ation|cookie|passw|secret|token|credential|api[-_]?key|private[-_]?key|bearer|^seed$/i;
/** These hold the word and no secret: counters, and names of things. */
const HARMLESS_NAME = /^(max|input|output|total)[-_]?tokens$|^token[-_]?endpoint$|^progressToken$/i;
/** The end of a variable's name, as people choose them. */
const SECRET_VARIABLE = /_(KEY|PASS|PWD|AUTH)$/;

/** Whether what has this name is a secret. */
export const namesSecret = (name: string): boolean => SECRET_NAME.test(name) && !HARMLESS_NAME.test(name);

/** What every process of this machine may know: without it a log could not name a file. */
const SHARED_VARIABLES: ReadonlySet<string> = new Set(['PATH', 'PWD', 'HOME', 'TMPDIR', 'USER', 'LOGNAME', 'SHELL', 'HOSTNAME', 'LANG', 'TZ', 'NODE_ENV']);

/** An address alone tells nobody anything, and a log without it is of little use. */
const PLAIN_URL = /^https?:\/\/[^@?#\s]+$/;

const isSecret = (text: string): boolean => text.length >= SECRET_CHARS_MIN && !PLAIN_URL.test(text);

/** Those of the variables that stand for a secret. */
export const secretVariables = (names: Iterable<string>, env: Readonly<Record<string, string | undefined>>): string[] =>
  [...names].filter((name) => !SHARED_VARIABLES.has(name) && isSecret(env[name] ?? ''));

/** Tells of a secret: `kept`, as of a file, or `passing`, as a token that ends. */
export type Learn = (text: string, how: 'kept' | 'passing') => void;

export class Secrets {
  readonly #given = new Set<string>();
  /** Here and below, the one told last is last. */
  readonly #kept = new Set<string>();
  readonly #passing = new Set<string>();
  /** All of them, longest first: one may hold another. Undefined = there are new ones. */
  #texts: readonly string[] | undefined;

  /** Of one process: its variables that say by their names that they are secret. */
  static of(env: Readonly<Record<string, string | undefined>>): Secrets {
    const secrets = new Secrets();
    for (const [name, value = ''] of Object.entries(env)) {
      if (name.endsWith('_URL')) secrets.add(passwordsIn(value));
      else if (name.endsWith('_HEADERS')) secrets.add([value, ...headerValues(value)]);
      else if (namesSecret(name) || SECRET_VARIABLE.test(name)) secrets.add([value, ...value.split(',')]);
    }
    return secrets;
  }

  /** What the variables of a configuration stand for. */
  addVariables(names: Iterable<string>, env: Readonly<Record<string, string | undefined>>): void {
    for (const name of secretVariables(names, env)) this.add([env[name] ?? '']);
  }

  add(texts: Iterable<string>): void {
    for (const form of [...texts].filter(isSecret).flatMap(formsOf)) if (this.#given.size < SECRETS_MAX) this.#given.add(form);
    this.#texts = undefined;
  }

  readonly learn: Learn = (text, how) => {
    if (!isSecret(text)) return;
    if (how === 'passing') remember(text, this.#passing, PASSING_MAX);
    else for (const form of formsOf(text)) remember(form, this.#kept, SECRETS_MAX);
    this.#texts = undefined;
  };

  readonly mask = (text: string): string => {
    let masked = text;
    this.#texts ??= [...new Set([...this.#given, ...this.#kept, ...this.#passing])].toSorted((one, other) => other.length - one.length);
    for (const secret of this.#texts) if (masked.includes(secret)) masked = masked.replaceAll(secret, MASK);
    return masked;
  };
}

function remember(text: string, among: Set<string>, max: number): void {
  among.delete(text);
  among.add(text);
  const [oldest] = among;
  if (oldest !== undefined && among.size > max) among.delete(oldest);
}

/** As it is, in a URL, and inside JSON. */
const formsOf = (text: string): string[] => [text, encodeURIComponent(text), JSON.stringify(text).slice(1, -1)];

/** What stands before the host: a password, or a token alone. */
const passwordsIn = (urls: string): string[] => [...urls.matchAll(/:\/\/(?:[^:@/\s]*:)?([^@/\s]+)@/g)].flatMap(([, password = '']) => [password, decoded(password)]);

/** Of `name=value,…` as OpenTelemetry has it, escapes and schemes (`Bearer`) taken away. */
function headerValues(headers: string): string[] {
  return headers.split(',').flatMap((header) => {
    const value = decoded(header.slice(header.indexOf('=') + 1).trim());
    return [value, ...value.split(' ')];
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
