/** The cookies of logins: how they are named, read, cut into parts and set. */
import { SEVERAL } from '../credential.ts';
import type { HeaderList, PolicyCall } from '../policy.ts';

/** As in the configuration format. No policy but `oidc` gets to see one, and nobody behind it. */
export const LOGIN_COOKIES = 'agw_oidc_';
/** Browsers take 4,096 bytes of name, value and attributes. */
export const VALUE_CHARS_MAX = 3_800;
/** node takes 16 KiB of headers in all. */
export const PARTS_MAX = 3;

export type Cookies = ReadonlyMap<string, string | typeof SEVERAL>;

const NONE: Cookies = new Map();

/** Those of logins, in the order the browser sent them: the oldest first. */
export function loginCookies({ loginCookies: cookie }: Pick<PolicyCall, 'loginCookies'>): Cookies {
  if (cookie === undefined) return NONE;
  const found = new Map<string, string | typeof SEVERAL>();
  for (const [name, value] of pairsOf(cookie)) if (name.startsWith(LOGIN_COOKIES)) found.set(name, found.has(name) ? SEVERAL : value);
  return found;
}

/** A Cookie header without them; undefined = nothing is left. */
export function withoutLoginCookies(cookie: string): string | undefined {
  const rest = cookie.split(';').filter((pair) => !pair.trimStart().startsWith(LOGIN_COOKIES));
  return rest.length === 0 ? undefined : rest.join(';').trimStart();
}

function pairsOf(cookie: string): (readonly [name: string, value: string])[] {
  return cookie.split(';').flatMap((pair) => {
    const at = pair.indexOf('=');
    return at > 0 ? [[pair.slice(0, at).trim(), pair.slice(at + 1).trim()] as const] : [];
  });
}

const partName = (name: string, index: number): string => (index === 0 ? name : `${name}.${index}`);

/** A text under a name and as many more as it takes, the first of which says how many there are. Undefined = too long. */
export function cut(name: string, text: string): (readonly [name: string, value: string])[] | undefined {
  const count = Math.ceil(text.length / VALUE_CHARS_MAX);
  if (count > PARTS_MAX) return undefined;
  return Array.from({ length: count }, (_, index) => {
    const part = text.slice(index * VALUE_CHARS_MAX, (index + 1) * VALUE_CHARS_MAX);
    return [partName(name, index), index === 0 ? `${count}~${part}` : part] as const;
  });
}

/** What `cut` made; undefined = there is none, or not all of it. */
export function joined(name: string, cookies: Cookies): string | typeof SEVERAL | undefined {
  const first = cookies.get(name);
  if (typeof first !== 'string') return first;
  const [, count = '0', start = ''] = /^([1-9])~(.*)$/.exec(first) ?? [];
  const parts = [start];
  for (let index = 1; index < Number(count); index++) {
    const part = cookies.get(partName(name, index));
    if (part === SEVERAL) return SEVERAL;
    if (part === undefined) return undefined;
    parts.push(part);
  }
  return parts.join('');
}

export const partNames = (name: string): readonly string[] => Array.from({ length: PARTS_MAX }, (_, index) => partName(name, index));

/** Sets and takes away cookies that scripts and other sites do not get at. */
export class CookieWriter {
  readonly #attributes: string;

  /** @param secure they travel encrypted only. */
  constructor(secure: boolean) {
    this.#attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  }

  set(pairs: readonly (readonly [name: string, value: string])[], maxAgeMs: number): HeaderList {
    return pairs.map(([name, value]) => ['set-cookie', `${name}=${value}; Max-Age=${Math.max(0, Math.floor(maxAgeMs / 1000))}; ${this.#attributes}`]);
  }

  clear(names: readonly string[]): HeaderList {
    return this.set(names.map((name) => [name, ''] as const), 0);
  }
}
