import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { type Compilation, compileDocument } from './compile.ts';
import type { McpHttpTarget } from './generation.ts';
import { withheldFrom } from './secret-paths.ts';
import { CLAIMS_CHARS_MAX } from './signed-token.ts';
import { SECRET_CHARS_MAX } from './secret-source.ts';

const PLANTED = 'planted-in-the-environment';

const compile = (backendAuth: unknown, more: object = {}): Compilation =>
  compileDocument({ mcp: { targets: [{ name: 'a', mcp: { host: 'h' }, policies: { backendAuth } }] } }, { env: { PLANTED }, ...more });
const authOf = (backendAuth: unknown, more: object = {}): McpHttpTarget['auth'] => {
  const { generation, problems } = compile(backendAuth, more);
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  return (generation?.backends.get('mcp')?.targets[0] as McpHttpTarget | undefined)?.auth;
};
const errors = (backendAuth: unknown): string[] => compile(backendAuth).problems.filter(({ severity }) => severity === 'error').map(({ path, message }) => `${path.replace('mcp.targets[0].policies.', '')}: ${message}`);
const secretOf = (auth: McpHttpTarget['auth']): string | undefined => {
  const value = auth?.keys[0]?.value;
  return value !== undefined && 'secret' in value ? value.secret.reveal() : undefined;
};

describe('a key', () => {
  test.each([['$PLANTED'], [{ value: '${PLANTED}' }]])('may be written as %j, and goes into Authorization unless told otherwise', (key) => {
    const auth = authOf({ key });
    expect(secretOf(auth)).toBe(PLANTED);
    expect(auth?.keys[0]?.location).toEqual({ in: 'header', name: 'authorization', prefix: 'Bearer ' });
  });

  test('may lie in a file', () => {
    expect(authOf({ key: { file: '/k' } })?.keys[0]?.value).toEqual({ file: '/k' });
    expect(authOf({ key: { value: { file: '/k' } } })?.keys[0]?.value).toEqual({ file: '/k' });
  });

  test.each([
    [{ header: { name: 'X-Key' } }, { in: 'header', name: 'x-key', prefix: '' }],
    [{ header: { name: 'authorization', prefix: 'Basic ' } }, { in: 'header', name: 'authorization', prefix: 'Basic ' }],
    [{ queryParameter: { name: 'q' } }, { in: 'query', name: 'q' }],
    [{ cookie: { name: 'c' } }, { in: 'cookie', name: 'c' }],
  ])('goes where %j says', (location, compiled) => {
    expect(authOf({ key: { value: '$PLANTED', location } })?.keys[0]?.location).toEqual(compiled);
  });

  test('may have others beside it', () => {
    const credentials = [{ location: { header: { name: 'x-other' } }, key: '$PLANTED' }];
    expect(authOf({ key: '$PLANTED', credentials })?.keys.map(({ location }) => location.name)).toEqual(['authorization', 'x-other']);
    expect(authOf({ credentials })?.keys).toHaveLength(1);
  });

  test.each([[SECRET_CHARS_MAX, 0], [SECRET_CHARS_MAX + 1, 1]])('of %d characters has %d errors', (length, count) => {
    expect(errors({ key: 'k'.repeat(length) })).toHaveLength(count);
  });
});

describe('a token we sign', () => {
  const signed = (more: object): object => ({ jwtSign: { signingKey: '$PLANTED', ...more } });

  test('is good for five minutes with RS256 unless told otherwise', () => {
    expect(authOf(signed({}))?.token).toMatchObject({ kind: 'jwtSign', ttlMs: 300_000, claims: {}, signer: { algorithm: 'RS256', kid: undefined } });
    expect(authOf(signed({ ttl: '1m', alg: 'ES384' }))?.token).toMatchObject({ ttlMs: 60_000, signer: { algorithm: 'ES384' } });
  });

  test.each([['iat'], ['exp'], ['nbf']])('may not claim %s', (claim) => {
    expect(errors(signed({ claims: { [claim]: 1 } }))).toEqual(['backendAuth.jwtSign.claims: iat, exp, nbf are set when a token is signed']);
  });

  test.each([[0, 0], [1, 1]])('with claims %d characters past the limit has %d errors', (past, count) => {
    const claims = { a: 'x'.repeat(CLAIMS_CHARS_MAX - JSON.stringify({ a: '' }).length + past) };
    expect(errors(signed({ claims }))).toHaveLength(count);
  });

  test('is good for a second at least', () => expect(errors(signed({ ttl: '900ms' }))).toEqual(['backendAuth.jwtSign.ttl: expected a second or more']));
});

describe('a token that is exchanged', () => {
  const exchanged = (more: object): object => ({ oauthTokenExchange: { host: 'as.test', ...more } });
  const urlOf = (more: object): unknown => (authOf(exchanged(more))?.token as { url: string } | undefined)?.url;

  test('comes from where it is written', () => {
    expect(urlOf({})).toBe('http://as.test/');
    expect(urlOf({ path: '/token', policies: { backendTLS: {} } })).toBe('https://as.test/token');
    expect(urlOf({ host: 'https://as.test:8443/oauth/token' })).toBe('https://as.test:8443/oauth/token');
  });

  test.each<[object, string]>([
    [{ clientAuth: { clientId: 'c' } }, 'clientAuth.clientSecret: required, and missing: the secret of the client'],
    [{ clientAuth: { clientId: 'c', method: 'privateKeyJwt', signingKey: 'k' } }, 'clientAuth.assertionAudience: required, and missing: privateKeyJwt needs assertionAudience'],
    [{ clientAuth: { clientId: 'c', clientSecret: 's', alg: 'RS256' } }, 'clientAuth.alg: this belongs to method: privateKeyJwt'],
    [{ grantType: 'jwtBearer', requestedTokenType: 'urn:x' }, 'requestedTokenType: only a tokenExchange can ask for a type'],
    [{ cache: { maxEntries: 100_001 } }, 'cache.maxEntries: at most 100000 entries'],
    [{ audiences: Array.from({ length: 33 }, () => 'a') }, 'audiences: at most 32 entries'],
  ])('%j is refused', (more, message) => expect(errors(exchanged(more))).toEqual([`backendAuth.oauthTokenExchange.${message}`]));
});

test.each([
  [{ key: 'a', passthrough: {} }, 'backendAuth: only one of key, passthrough may be given'],
  [{ gcp: { audience: 'a' } }, 'backendAuth.gcp.audience: only an idToken has an audience: type: idToken'],
  ['copilot', 'backendAuth: expected a map, found a text'],
])('%j is refused', (auth, message) => expect(errors(auth)).toEqual([message]));

describe('what is written in vain', () => {
  test.each<[unknown, string]>([
    [{}, 'backendAuth: one of key, passthrough, jwtSign, oauthTokenExchange, gcp, azure, credentials is required'],
    [{ key: { value: 'x', location: { expression: 'y' } } }, 'backendAuth.key.location.expression: Parley knows this key but does not serve it yet; refusing rather than serving without it'],
    [{ key: { valu: 'x' } }, 'backendAuth.key: expected a text, a file, or a value with its location, found a map'],
    [{ credentials: [{ location: { header: { name: 'Content-Length' } }, key: 'x' }] }, 'backendAuth.credentials[0].location.header.name: this header is taken by HTTP or MCP'],
    [{ credentials: [{ location: { header: { name: 'a b' } }, key: 'x' }] }, 'backendAuth.credentials[0].location.header.name: expected the name of a header'],
    [{ credentials: [{ location: {}, key: 'x' }] }, 'backendAuth.credentials[0].location: one of header, queryParameter, cookie is required'],
  ])('%j is refused', (auth, message) => expect(errors(auth)).toContain(message));
});

describe('a secret', () => {
  test('of the environment is in nothing that is printed, and in no message', () => {
    const { generation, problems } = compile({ key: '$PLANTED', credentials: [{ location: { header: { name: 'x' } }, key: '$PLANTED' }] });
    expect(problems).toEqual([]);
    for (const text of [JSON.stringify([...(generation?.backends ?? [])]), inspect(generation, { depth: 20 })]) expect(text).not.toContain(PLANTED);
    expect(JSON.stringify(compile({ key: { value: '$PLANTED', location: '$PLANTED' } }).problems)).not.toContain(PLANTED);
  });

  test('does not count in the id of a generation', () => {
    const idOf = (value: string) => compile({ key: '$PLANTED' }, { env: { PLANTED: value } }).generation?.id;
    expect(idOf('a')).toBe(idOf('b'));
  });

  test('that stands in the document itself is a warning that does not quote it', () => {
    const { problems } = compile({ key: 'in-clear', credentials: [{ location: { cookie: { name: 'c' } }, key: { file: '/k' } }] });
    expect(problems.map(({ severity, path }) => [severity, path])).toEqual([['warning', 'mcp.targets[0].policies.backendAuth.key']]);
    expect(JSON.stringify(problems)).not.toContain('in-clear');
  });

  test('is not looked up, kept or missed by a process that speaks to no server', () => {
    for (const key of ['$PLANTED', '$UNSET', 'in-clear', { value: '$UNSET' }]) expect(secretOf(authOf({ key }, { withheld: withheldFrom(['ingress', 'session']) }))).toBe('withheld');
    expect(compile({ key: '$UNSET' }).problems[0]?.message).toContain('UNSET is not set');
  });
});
