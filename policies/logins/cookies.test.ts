import { describe, expect, test } from 'vitest';
import { SEVERAL } from '../credential.ts';
import { CookieWriter, PARTS_MAX, VALUE_CHARS_MAX, cut, joined, loginCookies, partNames, withoutLoginCookies } from './cookies.ts';

const NAME = 'agw_oidc_s_1';
const read = (cookie: string) => joined(NAME, loginCookies({ loginCookies: cookie }));
const header = (pairs: readonly (readonly [string, string])[]): string => pairs.map(([name, value]) => `${name}=${value}`).join('; ');
/** Every position is another character than those a part away. */
const textOf = (chars: number): string => Array.from({ length: chars }, (_, index) => String.fromCharCode(0x41 + (index % 23))).join('');

describe('a text in cookies', () => {
  test.each([1, VALUE_CHARS_MAX, VALUE_CHARS_MAX + 1, VALUE_CHARS_MAX * PARTS_MAX])('of %i characters comes back whole, in any order', (chars) => {
    const parts = cut(NAME, textOf(chars)) ?? [];
    expect(parts.map(([name]) => name)).toEqual(partNames(NAME).slice(0, Math.ceil(chars / VALUE_CHARS_MAX)));
    expect(read(header(parts.toReversed()))).toBe(textOf(chars));
  });

  test('that is longer than all parts is not cut', () => {
    expect(cut(NAME, textOf(VALUE_CHARS_MAX * PARTS_MAX + 1))).toBeUndefined();
  });

  test('is none when a part of it is missing, and not disturbed by one that is left over', () => {
    const [first = ['', ''], second = ['', ''], third = ['', '']] = cut(NAME, textOf(VALUE_CHARS_MAX * 3)) ?? [];
    expect(read(header([first, third]))).toBeUndefined();
    expect(read(header([second, third]))).toBeUndefined();
    expect(read(header([...(cut(NAME, 'short') ?? []), second, third]))).toBe('short');
  });

  test('is not known when a part of it is there twice', () => {
    const [first = ['', ''], second = ['', '']] = cut(NAME, textOf(VALUE_CHARS_MAX * 2)) ?? [];
    expect([read(header([first, first, second])), read(header([first, second, second]))]).toEqual([SEVERAL, SEVERAL]);
  });
});

describe('cookies of logins', () => {
  test.each([
    ['theme=dark', 'theme=dark'],
    ['agw_oidc_s_1=x', undefined],
    ['a=1; agw_oidc_s_1=x; b=2; agw_oidc_t_1.2=y', 'a=1; b=2'],
    ['agw_oidc_s_1=x;b=2', 'b=2'],
    ['x_agw_oidc_s=1', 'x_agw_oidc_s=1'],
  ])('are taken out of %j', (cookie, rest) => {
    expect(withoutLoginCookies(cookie)).toBe(rest);
  });

  test('are found among others, and none where there is no header', () => {
    expect([...loginCookies({ loginCookies: 'a=1; agw_oidc_s_1=x=y; =z; agw_oidc_t' })]).toEqual([['agw_oidc_s_1', 'x=y']]);
    expect(loginCookies({}).size).toBe(0);
  });

  test('are set for as long as is said, and taken away', () => {
    const writer = new CookieWriter(true);
    expect(writer.set([['n', 'v']], 1_999)).toEqual([['set-cookie', 'n=v; Max-Age=1; Path=/; HttpOnly; SameSite=Lax; Secure']]);
    expect(writer.clear(['n'])).toEqual([['set-cookie', 'n=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure']]);
  });
});
