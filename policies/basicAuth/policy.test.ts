import { hashSync } from 'bcrypt';
import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, pass } from '../policy.ts';
import type { PolicyCall, PolicyDeps } from '../policy.ts';
import { basicAuth } from './policy.ts';

const PASSWORD = 'planted-Passw0rd';
/** Of `secret`, by openssl passwd -apr1. */
const GRACE = 'grace:$apr1$ab$jiiV6N7hIIuIoJbc1hxOE/';
const ADA = `ada:${hashSync(PASSWORD, 4)}`;
const HTPASSWD = `${ADA}\n${GRACE}\n`;

function compile(config: object = {}, deps: Partial<PolicyDeps> = {}) {
  const compiled = basicAuth.compile(basicAuth.schema.parse({ htpasswd: HTPASSWD, ...config }), depsWith(deps));
  return (call: Partial<PolicyCall>) => compiled.apply(callWith(call), NO_FACTS);
}
const encoded = (text: string | Buffer): string => Buffer.from(text).toString('base64');
const basic = (text: string | Buffer): Partial<PolicyCall> => ({ headers: { authorization: `Basic ${encoded(text)}` } });
const known = (username: string) => ({ kind: 'rewrite', responseHeaders: [], facts: { principal: `basic:${username}`, basicAuth: { username } } });
const no = (why: string, realm = 'Restricted') => expect.objectContaining({ kind: 'deny', status: 401, reason: `basicAuth/${why}`, responseHeaders: [['www-authenticate', `Basic realm="${realm}"`]] });

describe('who may call', () => {
  test.each([
    ['strict', no('missing')],
    ['optional', pass],
    [undefined, pass],
  ])('in mode %s', async (mode, missing) => {
    const apply = compile({ mode });
    expect(await apply(basic(`ada:${PASSWORD}`))).toEqual(known('ada'));
    expect(await apply(basic('grace:secret'))).toEqual(known('grace'));
    expect(await apply({})).toEqual(missing);
    expect(await apply({ headers: { authorization: 'Bearer x' } })).toEqual(missing);
    expect(await apply(basic(`ada:${PASSWORD}x`))).toEqual(no('wrong'));
    expect(await apply(basic('ada:'))).toEqual(no('wrong'));
    expect(await apply(basic('ada:secret'))).toEqual(no('wrong'));
    expect(await apply({ headers: { authorization: ['Basic YTpi', 'Basic YTpi'] } })).toEqual(no('duplicate'));
  });

  test('is nobody of another name, whatever password of somebody else they have', async () => {
    const apply = compile({ htpasswd: GRACE });
    for (const name of ['Grace', 'ada', 'grace ', '']) expect(await apply(basic(`${name}:secret`))).toEqual(no('wrong'));
  });

  test('may have a colon in the password, and other letters than ASCII', async () => {
    const apply = compile({ htpasswd: `zoë:${hashSync('a:b☃', 4)}` });
    expect(await apply(basic('zoë:a:b☃'))).toEqual(known('zoë'));
  });

  test.each([
    ['no base64', { headers: { authorization: 'Basic ?' } }],
    ['two in one header', { headers: { authorization: 'Basic YTpi, Basic YTpi' } }],
    ['no colon', basic('ada')],
    ['bytes that are no UTF-8', basic(Buffer.from([0x61, 0x3a, 0xff]))],
    ['a zero byte', basic('grace:secret\0')],
    ['a line break', basic('grace:secret\n')],
  ])('cannot be read from %s', async (_what, call) => {
    expect(await compile()(call)).toEqual(no('malformed'));
  });

  test('is read from as many characters as the limit, and no more', async () => {
    const of = (chars: number) => basic('g'.repeat((chars / 4) * 3 - 2) + ':b');
    expect(await compile()(of(1024))).toEqual(no('wrong'));
    expect(await compile()(of(1028))).toEqual(no('malformed'));
  });

  test('is asked for with the realm that is configured', () => {
    expect(compile({ mode: 'strict', realm: 'Engines (2)' })({})).toEqual(no('missing', 'Engines (2)'));
  });

  test('is read from where it is said, and asked for as a proxy asks when that is its header', async () => {
    const apply = compile({ mode: 'strict', authorizationLocation: { header: { name: 'Proxy-Authorization', prefix: 'Basic ' } } });
    expect(await apply({ headers: { 'proxy-authorization': `Basic ${encoded('grace:secret')}` } })).toEqual(known('grace'));
    expect(await apply(basic('grace:secret'))).toMatchObject({ status: 407, reason: 'basicAuth/missing', responseHeaders: [['proxy-authenticate', 'Basic realm="Restricted"']] });
  });
});

describe('a password that was right', () => {
  test('is remembered for a minute, and then checked again', async () => {
    let now = 1_000_000;
    const apply = compile({}, { now: () => now });
    const call = basic('grace:secret');
    const first = await apply(call);
    now += 59_999;
    expect(apply(call)).toBe(first);
    now += 1;
    expect(apply(call)).toBeInstanceOf(Promise);
  });

  test('is not remembered any longer when the clock is set back', async () => {
    let now = 1_000_000;
    const apply = compile({}, { now: () => now });
    await apply(basic('grace:secret'));
    now -= 1;
    expect(apply(basic('grace:secret'))).toBeInstanceOf(Promise);
  });

  test('says nothing of a wrong one, which is checked each time', async () => {
    const apply = compile();
    await apply(basic('grace:secret'));
    for (let time = 0; time < 2; time += 1) {
      const judging = apply(basic('grace:Secret'));
      expect(judging).toBeInstanceOf(Promise);
      expect(await judging).toEqual(no('wrong'));
    }
  });

  test('gives way to newer ones past the limit', async () => {
    const users = Array.from({ length: 1001 }, (_, index) => `u${index}`);
    const apply = compile({ htpasswd: users.map((name) => `${name}:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=`).join('\n') });
    for (const name of users.slice(0, 1000)) await apply(basic(`${name}:secret`));
    expect(apply(basic('u0:secret'))).toEqual(known('u0'));
    await apply(basic('u1000:secret'));
    expect(apply(basic('u0:secret'))).toBeInstanceOf(Promise);
    expect(apply(basic('u2:secret'))).toEqual(known('u2'));
  });
});

describe('passwords that come at once', () => {
  test('are checked up to the limit, and past it nobody has to wait', async () => {
    const apply = compile();
    const judging = Array.from({ length: 32 }, (_, index) => Promise.resolve(apply(basic(`ada:${index}`))));
    expect(apply(basic('ada:32'))).toMatchObject({ kind: 'deny', status: 503, reason: 'basicAuth/overloaded', responseHeaders: [['retry-after', '1']] });
    expect(await Promise.all(judging)).toEqual(judging.map(() => no('wrong')));
    expect(await apply(basic(`ada:${PASSWORD}`))).toEqual(known('ada'));
  });

  test('are checked once when they are the same', async () => {
    const apply = compile();
    const judging = Array.from({ length: 100 }, () => Promise.resolve(apply(basic(`ada:${PASSWORD}`))));
    expect(await Promise.all(judging)).toEqual(judging.map(() => known('ada')));
  });
});

test('a name that nobody has takes as long as one that somebody has', async () => {
  const apply = compile({ htpasswd: `ada:${hashSync(PASSWORD, 9)}` });
  const took = async (name: string): Promise<number> => {
    const start = process.cpuUsage().user;
    expect(await apply(basic(`${name}:${crypto.randomUUID()}`))).toEqual(no('wrong'));
    return process.cpuUsage().user - start;
  };
  await took('ada');
  const [someone, nobody] = [await took('ada'), await took('nobody')];
  // Without a check it would be a hundredth.
  expect(nobody).toBeGreaterThan(someone / 4);
});

test('has its credentials where an expression finds them', async () => {
  const apply = compile({ mode: 'strict', authorizationLocation: { expression: 'json(request.headers["x-login"]).basic' } });
  expect(await apply({ headers: { 'x-login': JSON.stringify({ basic: encoded(`ada:${PASSWORD}`) }) } })).toEqual(known('ada'));
  expect(await apply({})).toEqual(no('missing'));
  expect(await apply({ headers: { 'x-login': '{' } })).toEqual(no('malformed'));
});

describe('its configuration', () => {
  test.each([
    ['no users', {}],
    ['an htpasswd that is neither text nor file', { htpasswd: 1 }],
    ['an empty htpasswd', { htpasswd: '' }],
    ['a line that cannot be used', { htpasswd: `${HTPASSWD}x` }],
    ['crypt', { htpasswd: 'ada:$6$x$y' }],
    ['a file without a path', { htpasswd: { file: '' } }],
    ['a realm that would end its quotes', { htpasswd: HTPASSWD, realm: 'a"b' }],
    ['a realm past the limit', { htpasswd: HTPASSWD, realm: 'r'.repeat(129) }],
    ['users past the limit', { htpasswd: `#${'x'.repeat(1024 * 1024)}\n${HTPASSWD}` }],
    ['as location what is no expression', { htpasswd: HTPASSWD, authorizationLocation: { expression: 'x' } }],
    ['the mode permissive', { htpasswd: HTPASSWD, mode: 'permissive' }],
    ['an unknown key', { htpasswd: HTPASSWD, relm: 'x' }],
  ])('refuses %s', (_what, config) => {
    expect(basicAuth.schema.safeParse(config).success).toBe(false);
  });

  test('takes a realm and users as long as the limits', () => {
    const comment = '#'.padEnd(1024 * 1024 - HTPASSWD.length - 1, 'x');
    expect(basicAuth.schema.safeParse({ htpasswd: `${comment}\n${HTPASSWD}`, realm: 'r'.repeat(128) }).success).toBe(true);
  });

  test('reads the users of a file', async () => {
    const apply = compile({ htpasswd: { file: '/etc/users' } }, { file: (path) => (path === '/etc/users' ? HTPASSWD : '') });
    expect(await apply(basic(`ada:${PASSWORD}`))).toEqual(known('ada'));
  });

  test('refuses a file with a line that cannot be used, or that cannot be read, and names it', () => {
    const of = (deps: Partial<PolicyDeps>) => () => compile({ htpasswd: { file: '/etc/users' } }, deps);
    expect(of({ file: () => `${HTPASSWD}x:planted` })).toThrow('basicAuth: the file /etc/users: line 3: the hash is none of bcrypt, apr1 and {SHA}');
    expect(of({})).toThrow('the file /etc/users cannot be read');
  });

  test.each(['gateway', 'route'] as const)('is compiled in the %s phase', (phase) => {
    expect(compileChain({ basicAuth: { htpasswd: HTPASSWD } }, phase, depsWith()).empty).toBe(false);
  });
});

describe('a password', () => {
  const shown = (value: unknown): string => JSON.stringify(value);

  test('is in no verdict, and neither is a wrong name', async () => {
    const apply = compile({ mode: 'strict' });
    const calls = [basic(`ada:${PASSWORD}`), basic(`ada:${PASSWORD}x`), basic(`${PASSWORD}:x`), basic(PASSWORD), { headers: { authorization: [`Basic ${PASSWORD}`, PASSWORD] } }];
    for (const call of calls) {
      const verdict = shown(await apply(call));
      expect(verdict).not.toContain(PASSWORD);
      expect(verdict).not.toContain(encoded(PASSWORD).slice(0, 12));
    }
  });

  test('or its hash is in no problem of a configuration', () => {
    const policies = { basicAuth: basicAuth.schema };
    const hash = 'plantedplant';
    const wrong = [{ htpasswd: `ada:${PASSWORD}` }, { htpasswd: PASSWORD }, { htpasswd: `${hash}:${hash}\nada:$6$${hash}` }, { htpasswd: [PASSWORD] }, { htpasswd: { file: [PASSWORD] } }, { htpasswd: HTPASSWD, realm: `"${PASSWORD}` }];
    for (const config of wrong) {
      const written = JSON.parse(shown(config).replaceAll('$', '$$$$')) as object;
      const { generation, problems } = compileDocument({ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x' } }], policies: { basicAuth: written } } }, { env: {}, policies });
      expect(generation).toBeUndefined();
      expect(shown(problems)).not.toMatch(new RegExp(`${PASSWORD}|${hash}`));
      expect(() => compileChain({ basicAuth: config }, 'route', depsWith())).toThrow(expect.not.objectContaining({ message: expect.stringContaining(PASSWORD) }));
    }
    const undoubled = compileDocument({ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x' } }], policies: { basicAuth: { htpasswd: `ada:$apr1$${hash}$${PASSWORD}` } } } }, { env: {}, policies });
    expect(shown(undoubled.problems)).toContain('write $$ for a plain dollar');
    expect(shown(undoubled.problems)).not.toMatch(new RegExp(`planted|${hash}`));
    expect(() => compile({ htpasswd: { file: '/f' } }, { file: () => `ada:${PASSWORD}` })).toThrow(expect.not.objectContaining({ message: expect.stringContaining(PASSWORD) }));
  });
});
