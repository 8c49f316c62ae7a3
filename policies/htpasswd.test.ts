import { monitorEventLoopDelay } from 'node:perf_hooks';
import { hashSync } from 'bcrypt';
import { describe, expect, test } from 'vitest';
import { parseHtpasswd } from './htpasswd.ts';

const LONG = 'a-password-that-is-longer-than-sixteen-bytes-by-far';
const verify = (hash: string, password: string): unknown => {
  const { users, problems } = parseHtpasswd(`ada:${hash}`);
  expect(problems).toEqual([]);
  return users.get('ada')?.(password);
};

/** Made by `openssl passwd -apr1 -salt <salt> <password>`. */
const APR1 = [
  ['', '$apr1$r31.....$iQoXxeL5pW.kaXVrniDCU0'],
  ['', '$apr1$ab$S8K6Sgp3W8c9Jb6LxgywZ.'],
  ['secret', '$apr1$r31.....$G/cElGhD0cboYkZN5h5Ne/'],
  ['secret', '$apr1$ab$jiiV6N7hIIuIoJbc1hxOE/'],
  ['pässwörd ☃', '$apr1$r31.....$M.q35WSjNko15HqnxIa3J/'],
  ['pässwörd ☃', '$apr1$ab$7UUDlEL24qqUpkzVlCCII1'],
  [LONG, '$apr1$r31.....$n.81lAW9CjlBgy8McQnGK0'],
  [LONG, '$apr1$ab$HnVmcpKF3xBF/mG8Rjng71'],
] as const;

describe('a password', () => {
  test.each(APR1)('%j is the one of %s', async (password, hash) => {
    expect(await verify(hash, password)).toBe(true);
    expect(await verify(hash, `${password}x`)).toBe(false);
  });

  test('is the one of its SHA-1, made by openssl dgst -sha1', async () => {
    expect(await verify('{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'secret')).toBe(true);
    expect(await verify('{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'Secret')).toBe(false);
  });

  test.each(['2a', '2b', '2y'])('is the one of its bcrypt hash in the form %s', async (form) => {
    const hash = hashSync('secret', 4).replace('$2b$', `$${form}$`);
    expect(await verify(hash, 'secret')).toBe(true);
    expect(await verify(hash, 'secret ')).toBe(false);
  });

  test('that is wrong holds nobody up while it is checked by bcrypt', async () => {
    const hash = hashSync('secret', 10);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    for (let tries = 0; tries < 5; tries += 1) expect(await verify(hash, `wrong${tries}`)).toBe(false);
    delay.disable();
    // In the event loop itself a check takes it for some 100 ms at a time. The median, as another process may take the core for once.
    expect(delay.percentile(50) / 1e6).toBeLessThan(20);
    expect(delay.count).toBeGreaterThan(20);
  });
});

describe('a file', () => {
  const SHA = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=';

  test('may have comments, empty lines, ends of lines of Windows, and no last one', () => {
    const { users, problems } = parseHtpasswd(`# users\r\n\r\nada:${SHA}\r\n  grace:${SHA}`);
    expect([[...users.keys()], problems]).toEqual([['ada', 'grace'], []]);
  });

  test.each([
    ['no colon', 'planted', 'expected a user name, a colon and a hash'],
    ['no name', `:${SHA}`, 'expected a user name, a colon and a hash'],
    ['a name past the limit', `${'n'.repeat(256)}:${SHA}`, 'a user name has at most 255 characters'],
    ['a name with a control character', `pla\tnted:${SHA}`, 'a user name has no control characters'],
    ['a password as it is', 'ada:planted', 'the hash is none of bcrypt, apr1 and {SHA}'],
    ['an empty password', 'ada:', 'the hash is none of bcrypt, apr1 and {SHA}'],
    ['crypt of DES', 'ada:plantedplante', 'hashes of crypt are not supported: make the entry anew with htpasswd -B'],
    ['crypt of SHA-512', 'ada:$6$planted$x', 'hashes of crypt are not supported: make the entry anew with htpasswd -B'],
    ['bcrypt that costs too much', `ada:${hashSync('x', 4).replace('$04$', '$15$')}`, 'a bcrypt hash has a cost of 4 to 14'],
    ['bcrypt that costs nothing', `ada:${hashSync('x', 4).replace('$04$', '$03$')}`, 'a bcrypt hash has a cost of 4 to 14'],
    ['bcrypt cut short', `ada:${hashSync('x', 4).slice(0, -1)}`, 'the hash is none of bcrypt, apr1 and {SHA}'],
    ['salted SHA-1', 'ada:{SSHA}planted', 'the hash is none of bcrypt, apr1 and {SHA}'],
    ['a user twice', `first:${SHA}`, 'the user is there twice'],
  ])('with %s has a problem, which names the line and says nothing of it', (_what, line, why) => {
    expect(parseHtpasswd(`first:${SHA}\n${line}\n`).problems).toEqual([`line 2: ${why}`]);
  });

  test('with a name as long as the limit, and bcrypt as dear, is taken', () => {
    const dear = hashSync('x', 4).replace('$04$', '$14$');
    expect(parseHtpasswd(`${'n'.repeat(255)}:${dear}`).problems).toEqual([]);
  });

  test.each(['', '# nobody\n'])('with nobody in it has a problem: %j', (text) => {
    expect(parseHtpasswd(text).problems).toEqual(['there is no user in it']);
  });

  test('may have as many users as the limit', () => {
    const many = (count: number) => parseHtpasswd(Array.from({ length: count }, (_, index) => `u${index}:${SHA}\n`).join('')).problems;
    expect(many(10_000)).toEqual([]);
    expect(many(10_001)).toEqual(['10001 users; at most 10000 are read']);
  });
});
