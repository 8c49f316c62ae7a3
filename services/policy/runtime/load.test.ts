import { stringify } from 'yaml';
import { Secret } from '#protocol/config/secret.ts';
import { describe, expect, test } from 'vitest';
import type { Running } from './caller-problems.ts';
import { compileText } from './load.ts';

const KEY = '5e'.repeat(32);
const env = { SESSION_KEY: KEY };

const load = (backendAuth: object, running: Running | undefined, config?: object) =>
  compileText(stringify({ ...(config === undefined ? {} : { config }), mcp: { targets: [{ name: 'files', mcp: { host: 'h' }, policies: { backendAuth } }] } }), { file: 'f', env, running });

const ALONE = { alone: true };
const ONE_OF_MANY = { alone: false };
const EXCHANGE = { oauthTokenExchange: { host: 'as.test' } };

describe('a gateway whose servers are asked with tokens of callers', () => {
  test.each([[{ passthrough: {} }], [EXCHANGE]])('%j is refused without a session key, unless one process is all of it', (auth) => {
    const { generation, problems } = load(auth, ONE_OF_MANY);
    expect(generation).toBeUndefined();
    expect(problems).toMatchObject([{ severity: 'error', path: 'config.session.key', message: 'the target "files" is asked with a token of the caller: between processes it is sealed with config.session.key, which is missing' }]);
    expect(load(auth, ALONE)).toMatchObject({ problems: [], generation: { settings: {} } });
  });

  test('is warned where nobody knows how it will run', () => {
    const { generation, problems } = load({ passthrough: {} }, undefined);
    expect(generation).toBeDefined();
    expect(problems).toMatchObject([{ severity: 'warning', path: 'config.session.key' }]);
  });

  test('is good with a session key of the environment; with one that stands in the file, only where one process is all of it', () => {
    expect(load({ passthrough: {} }, ONE_OF_MANY, { session: { key: '$SESSION_KEY' } }).problems).toEqual([]);
    const written = { session: { key: KEY } };
    expect(load({ passthrough: {} }, ALONE, written)).toMatchObject({ problems: [], generation: { settings: { sessionKey: new Secret(KEY) } } });
    expect(load({ passthrough: {} }, undefined, written).problems).toMatchObject([{ severity: 'warning', path: 'config.session.key' }]);
    const { generation, problems } = load({ passthrough: {} }, ONE_OF_MANY, written);
    expect([generation, problems]).toMatchObject([undefined, [{ severity: 'error', path: 'config.session.key' }]]);
    expect(JSON.stringify(problems)).not.toContain(KEY);
  });

  test.each([
    ['request.headers["x-user"', 'line 1, column 16 of the expression: not an expression'],
    ['apiKey.key', 'apiKey.key is not kept once it was judged'],
    ['request.body', 'request.body cannot be used here'],
  ])('is refused with the expression %s for its token', (expression, words) => {
    const [problem, ...others] = load({ oauthTokenExchange: { host: 'h', subjectToken: { source: { expression } } } }, ALONE).problems;
    expect([problem?.path, others]).toEqual(['mcp.targets[0].policies.backendAuth.oauthTokenExchange.subjectToken.source.expression', []]);
    expect(problem?.message).toContain(words);
  });

  test.each(['short', `${KEY}00`, 'x'.repeat(64)])('is refused with the session key %j', (key) => {
    expect(load({ passthrough: {} }, ONE_OF_MANY, { session: { key } }).problems).toMatchObject([{ severity: 'error', path: 'config.session.key', message: 'expected 64 hex digits, as of "openssl rand -hex 32"' }]);
  });
});

test('a gateway whose servers are asked with its own keys needs no session key', () => {
  expect(load({ key: { file: '/k' } }, ONE_OF_MANY).problems).toEqual([]);
});

describe('a gateway by way of which clients get their tokens', () => {
  const entra = (more: object, running: Running | undefined, config?: object) =>
    compileText(stringify({ ...(config === undefined ? {} : { config }), mcp: {
      policies: { mcpAuthentication: { issuer: 'https://login.microsoftonline.com/t/v2.0', audiences: ['a'], provider: { entra: {} }, clientId: 'app', resourceMetadata: {}, ...more } }, targets: [{ name: 'files', mcp: { host: 'h' } }] } }), { file: 'f', env: { ...env, APP_SECRET: 'hush' }, running });

  test('is refused without a session key, unless one process is all of it', () => {
    const { generation, problems } = entra({}, ONE_OF_MANY);
    expect([generation, problems]).toMatchObject([undefined, [{ severity: 'error', path: 'config.session.key', message: expect.stringContaining('gets its token by way of the gateway (provider entra)') }]]);
    expect(entra({}, ALONE).problems).toEqual([]);
    expect(entra({}, ONE_OF_MANY, { session: { key: '$SESSION_KEY' } }).problems).toEqual([]);
  });

  test.each(['$APP_SECRET', 'hush'])('is good with the secret %s', (clientSecret) => {
    expect(entra({ clientSecret }, ALONE).problems).toEqual([]);
  });
});

describe('a gateway that passes on the tokens of callers', () => {
  const verifying = { issuer: 'https://issuer.test', jwks: JSON.stringify({ keys: [{ kty: 'OKP', crv: 'Ed25519', kid: 'k', x: 'A'.repeat(43) }] }) };
  const oauth = { ...verifying, audiences: ['us'], resourceMetadata: {} };
  const passing = (policies: object, backendAuth: object = { passthrough: {} }) =>
    compileText(stringify({ mcp: { policies, targets: [{ name: 'files', mcp: { host: 'h' }, policies: { backendAuth } }] } }), { file: 'f', env, running: ALONE });
  const cookie = { cookie: { name: 'token' } };
  const header = (name: string, prefix: string) => ({ header: { name, prefix } });

  test('is refused where tokens of two places are verified, since it would pass on one', () => {
    const policies = { jwtAuth: { ...verifying, location: cookie }, mcpAuthentication: { ...oauth, authorizationLocation: header('x-token', '') } };
    const message = 'route mcp: jwtAuth.location and mcpAuthentication.authorizationLocation verify tokens of two places, and the target "files" has backendAuth.passthrough, which passes on one';
    expect(passing(policies).problems).toMatchObject([{ severity: 'error', message }]);
    expect(passing(policies, { oauthTokenExchange: { host: 'as.test', subjectToken: { source: cookie } } }).problems).toEqual([]);
  });

  test.each([[{}], [{ jwtAuth: verifying }], [{ jwtAuth: { ...verifying, location: cookie } }], [{ jwtAuth: { ...verifying, location: { expression: 'request.headers["x-token"]' } } }], [{ jwtAuth: { ...verifying, location: header('Authorization', 'bearer ') }, mcpAuthentication: oauth }], [{ mcpAuthentication: oauth }]])('is good with %j', (policies) => {
    expect(passing(policies).problems).toEqual([]);
  });

  test('is refused where its listener verifies a token of another place than its route', () => {
    const route = { name: 'tools', policies: { jwtAuth: verifying }, gateways: ['web'], backends: [{ mcp: { targets: [{ name: 'files', mcp: { host: 'h' }, policies: { backendAuth: { passthrough: {} } } }] } }] };
    const document = { gateways: { web: { port: 3000, jwtAuth: { ...verifying, location: cookie } } }, routes: [route] };
    expect(compileText(stringify(document), { file: 'f', env, running: ALONE }).problems).toMatchObject([{ severity: 'error', message: expect.stringContaining('route tools: jwtAuth.location and jwtAuth.location verify tokens of two places') as string }]);
  });
});

describe('a gateway where people log in by browser', () => {
  const oidc = (redirectURI: string, more: object = {}) => ({ oidc: { issuer: 'https://login.test', clientId: 'c', clientSecret: '${NONE:-s}', redirectURI, ...more } });
  const simple = (redirectURI: string, more?: object) => ({ mcp: { policies: oidc(redirectURI, more), targets: [{ name: 'files', mcp: { host: 'h' } }] } });
  const withKey = { OIDC_COOKIE_SECRET: KEY };
  const check = (config: object, more: { readonly running?: Running | undefined; readonly env?: Record<string, string> } = {}) => compileText(stringify(config), { file: 'f', env: withKey, running: ONE_OF_MANY, ...more });
  const listener = (hostname: string | undefined, route: object, policies: object = {}) => ({
    binds: [{ port: 0, listeners: [{ name: 'l', ...(hostname === undefined ? {} : { hostname }), policies, routes: [{ name: 'r', backends: [{ mcp: { targets: [{ name: 'files', mcp: { host: 'h' } }] } }], ...route }] }] }],
  });

  test.each<[string, object]>([
    ['route mcp: oidc.redirectURI', simple('https://gw.test/oauth/callback')],
    ['route mcp: oidc.redirectURI', simple('https://gw.test/mcpx/callback')],
    ['route r: oidc.redirectURI', listener(undefined, { policies: oidc('https://gw.test/cb'), matches: [{ path: { exact: '/mcp' } }] })],
    ['route r: oidc.redirectURI', listener(undefined, { policies: oidc('https://gw.test/cb'), matches: [{ path: { regex: '/mcp/.*' } }] })],
    ['route r: oidc.redirectURI', listener(undefined, { policies: oidc('https://gw.test/cb'), matches: [{ method: 'POST' }] })],
    ['route r: oidc.redirectURI', listener(undefined, { policies: oidc('https://gw.test/cb'), matches: [{ headers: [{ name: 'x-a', value: { exact: '1' } }] }] })],
    ['route r: oidc.redirectURI', listener(undefined, { policies: oidc('https://gw.test/cb'), hostnames: ['other.test'] })],
    ['route r: oidc.redirectURI', listener('other.test', { policies: oidc('https://gw.test/cb') })],
    ['listener l: oidc.redirectURI', listener('*.other.test', {}, oidc('https://gw.test/cb'))],
  ])('is refused where they would not come back, at %s: %j', (place, config) => {
    const { generation, problems } = check(config);
    expect([generation, problems]).toEqual([undefined, [expect.objectContaining({ severity: 'error', message: `${place}: a browser that comes back to it does not get here, so no login ends` })]]);
  });

  test.each<[object]>([
    [simple('https://gw.test/mcp/callback')],
    [simple('http://localhost:3000/mcp/callback')],
    [listener(undefined, { policies: oidc('https://gw.test/cb'), matches: [{ path: { exact: '/mcp' } }, { path: { exact: '/cb' } }] })],
    [listener(undefined, { policies: oidc('https://gw.test/a/cb'), matches: [{ path: { regex: '/a/.*' } }], hostnames: ['*.test'] })],
    [listener('gw.test', {}, oidc('https://gw.test/anywhere'))],
    [listener('*.test', {}, oidc('https://gw.test/anywhere'))],
  ])('is good where they do: %j', (config) => {
    expect(check(config).problems).toEqual([]);
  });

  const sibling = (matches: object[]) => ({ name: 'other', matches, backends: [{ mcp: { targets: [{ name: 'files', mcp: { host: 'h' } }] } }] });
  const beside = (matches: object[]) => {
    const { binds } = listener(undefined, { policies: oidc('https://gw.test/a/cb'), matches: [{ path: { pathPrefix: '/a' } }] });
    return { binds: binds.map(({ port, listeners: [one] }) => ({ port, listeners: [{ ...one, routes: [...(one?.routes ?? []), sibling(matches)] }] })) };
  };

  test.each<[object[]]>([
    [[{ path: { exact: '/a/cb' } }]],
    [[{ path: { pathPrefix: '/a/c' } }, { path: { pathPrefix: '/a/cb' } }]],
    [[{ path: { pathPrefix: '/a' }, query: [{ name: 'code', value: { regex: '.*' } }] }]],
  ])('is refused where another route of the listener takes them: %j', (matches) => {
    const message = 'route r: oidc.redirectURI: a browser that comes back to it gets to route other instead, so no login ends';
    expect(check(beside(matches)).problems).toEqual([expect.objectContaining({ severity: 'error', message })]);
  });

  test.each<[object[]]>([
    [[{ path: { regex: '/a/.*' } }]],
    [[{ path: { pathPrefix: '/' } }]],
    [[{ path: { exact: '/a/cb' }, method: 'POST' }]],
    [[{ path: { exact: '/a/cb' }, headers: [{ name: 'x-a', value: { exact: '1' } }] }]],
    [[{ path: { exact: '/a/cb' }, query: [{ name: 'other', value: { regex: '.*' } }] }]],
  ])('is good beside a route that does not: %j', (matches) => {
    expect(check(beside(matches)).problems).toEqual([]);
  });

  test('needs a key for its cookies, unless one process is all of it', () => {
    const config = simple('https://gw.test/mcp/callback');
    expect(check(config, { env: {} }).problems).toMatchObject([{ severity: 'error', message: expect.stringContaining('OIDC_COOKIE_SECRET is not set') }]);
    expect(check(config, { env: {}, running: undefined }).problems).toMatchObject([{ severity: 'warning' }]);
    expect(check(config, { env: {}, running: ALONE }).problems).toEqual([]);
  });

  test('is warned of callbacks by http', () => {
    expect(check(simple('http://gw.test/mcp/callback')).problems).toMatchObject([{ severity: 'warning', message: expect.stringContaining('by http') }]);
  });

  test('is refused with a file or a document that cannot be used, by name', () => {
    const messages = (more: object) => check(simple('https://gw.test/mcp/callback', more)).problems.map(({ message }) => message);
    expect(messages({ discovery: { file: '/none' } })).toEqual(['route mcp: the file /none cannot be read: there is no such file']);
    expect(messages({ discovery: JSON.stringify({ issuer: 'https://other.test' }) })).toEqual(['route mcp: the discovery document of https://login.test names another issuer']);
    const explicit = { authorizationEndpoint: 'https://login.test/a', tokenEndpoint: 'https://login.test/t' };
    expect(messages({ ...explicit, jwks: { file: '/none' } })).toEqual(['route mcp: the file /none cannot be read: there is no such file']);
  });

  test('is refused where a server is asked with the token of the login, which is not kept', () => {
    const config = { mcp: { policies: oidc('https://gw.test/mcp/callback'), targets: [{ name: 'files', mcp: { host: 'h' }, policies: { backendAuth: { passthrough: {} } } }] } };
    expect(check(config, { running: ALONE }).problems).toMatchObject([{ severity: 'error', message: expect.stringMatching(/^route mcp: oidc keeps no token that could be passed on/) }]);
  });
});
