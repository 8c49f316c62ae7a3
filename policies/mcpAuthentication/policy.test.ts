import { beforeAll, describe, expect, test } from 'vitest';
import type { Request } from '#protocol/mcp/message.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { ISSUER, type IssuerKey, keySet, makeKey } from '../../test/world/tokens.ts';
import { compileChain } from '../chain.ts';
import { Secret } from '#protocol/config/secret.ts';
import { NO_FACTS, type AuthorizationServer, type PolicyCall, type PolicyDeps, type SharedClient, type TokenRequest, type Verdict } from '../policy.ts';
import { mcpAuthentication } from './policy.ts';

const NOW_MS = 1_700_000_000_000;
const RESOURCE = 'https://gw.example/mcp';
const CLAIMS = { iss: ISSUER, sub: 'ada', aud: RESOURCE, exp: NOW_MS / 1000 + 600 };

let key: IssuerKey;
let jwks: string;
beforeAll(async () => {
  key = await makeKey();
  jwks = keySet(key);
});

const METADATA = { issuer: ISSUER, authorization_endpoint: `${ISSUER}/authorize?a=1`, registration_endpoint: `${ISSUER}/register`, client_id_metadata_document_supported: true, unknown: [1] };
const registrations: string[] = [];
const tokenRequests: TokenRequest[] = [];
const server: AuthorizationServer = {
  metadata: async () => METADATA,
  async register(body) {
    registrations.push(new TextDecoder().decode(body));
    return { status: 201, text: '{"client_id":"theirs"}' };
  },
  async token(request) {
    tokenRequests.push(request);
    return { status: 200, text: '{"access_token":"theirs"}' };
  },
};

const config = (more: object = {}) => ({ issuer: ISSUER, audiences: [RESOURCE], jwks, resourceMetadata: { scopesSupported: ['mcp', 'read'] }, ...more });
const compile = (more: object = {}, deps: Partial<PolicyDeps> = {}) =>
  mcpAuthentication.compile(mcpAuthentication.schema.parse(config(more)), depsWith({ now: () => NOW_MS, authorizationServer: () => server, ...deps }));
const ask = async (call: Partial<PolicyCall>, more: object = {}): Promise<Verdict> => compile(more).apply(callWith(call), NO_FACTS);
const withToken = async (claims: object, more: object = {}) => ask({ headers: { authorization: `Bearer ${await key.sign({ ...CLAIMS, ...claims })}` } }, more);
const contentOf = (verdict: Verdict): unknown => (verdict.kind === 'answer' || verdict.kind === 'deny' ? JSON.parse(String(verdict.content?.text ?? 'null')) : verdict.kind);
const seen = (verdict: Verdict): unknown[] => (verdict.kind === 'deny' ? [verdict.status, verdict.reason, Object.fromEntries(verdict.responseHeaders)['www-authenticate']] : [verdict.kind]);
const get = (path: string, more: object = {}, call: Partial<PolicyCall> = {}) => ask({ method: 'GET', path, ...call }, more);

describe('a request', () => {
  test('has its token where an expression finds it in a header', async () => {
    const more = { authorizationLocation: { expression: 'default(request.headers["x-token"], request.headers["authorization"].stripPrefix("Bearer "))' } };
    const token = await key.sign(CLAIMS);
    for (const headers of [{ 'x-token': token }, { authorization: `Bearer ${token}` }]) expect(await ask({ headers }, more)).toMatchObject({ facts: { principal: `jwt:${ISSUER}#ada` } });
    expect(seen(await ask({}, more))[1]).toBe('mcpAuthentication/missing');
    expect(seen(await ask({ headers: { 'x-token': [token, token] } }, more))[1]).toBe('mcpAuthentication/malformed');
  });

  test('without a token is told where to get one', async () => {
    const verdict = await ask({ path: '/a/mcp' });
    expect(seen(verdict)).toEqual([401, 'mcpAuthentication/missing', 'Bearer resource_metadata="http://gw.test/.well-known/oauth-protected-resource/a/mcp", scope="mcp read"']);
    expect(contentOf(verdict)).toEqual({ error: 'unauthorized', error_description: 'JWT token required' });
  });

  test('is told so by the address that clients use', async () => {
    const at = async (call: Partial<PolicyCall>, more: object = {}) => String(seen(await ask(call, more))[2]).split('"')[1];
    expect(await at({ headers: { 'x-forwarded-proto': 'https' } })).toBe('https://gw.test/.well-known/oauth-protected-resource/mcp');
    expect(await at({}, { resourceMetadata: { resource: RESOURCE } })).toBe('https://gw.example/.well-known/oauth-protected-resource/mcp');
    expect(await at({ path: '/' })).toBe('http://gw.test/.well-known/oauth-protected-resource');
    expect(await at({ path: '/a"b' })).toBe('http://gw.test/.well-known/oauth-protected-resource/a%22b');
  });

  test('whose Host is none is not repeated what it said', async () => {
    expect(seen(await ask({ host: 'a", x="' }))[2]).toBe('Bearer scope="mcp read"');
  });

  test.each([
    ['strict', 401],
    ['optional', 'pass'],
    ['permissive', 'pass'],
  ])('without a token, in mode %s: %s', async (mode, expected) => expect(seen(await ask({}, { mode }))[0]).toBe(expected));

  test.each([
    ['strict', 401],
    ['optional', 401],
    ['permissive', 'rewrite'],
  ])('with a bad token, in mode %s: %s', async (mode, expected) => expect(seen(await withToken({ exp: 1 }, { mode }))[0]).toBe(expected));

  test.each([
    [{ exp: 1 }, 'expired'],
    [{ iss: 'https://evil.example' }, 'issuer'],
    [{ aud: 'https://other.example/mcp' }, 'audience'],
    [{ sub: undefined }, 'claims'],
  ])('whose token says %j is refused as %s', async (claims, why) => {
    const [status, reason, challenge] = seen(await withToken(claims));
    expect([status, reason]).toEqual([401, `mcpAuthentication/${why}`]);
    expect(challenge).toMatch(/^Bearer error="invalid_token", resource_metadata="/);
  });

  test('with a good token goes on, and who calls is known', async () => {
    expect(await withToken({})).toEqual({ kind: 'rewrite', responseHeaders: [], facts: { principal: `jwt:${ISSUER}#ada`, jwt: CLAIMS, verifiedToken: expect.any(Secret) as Secret } });
  });

  test('cannot choose by its Host which tokens are for this server', async () => {
    const token = await key.sign({ ...CLAIMS, aud: 'https://evil.example/mcp' });
    const call = { host: 'evil.example', headers: { 'x-forwarded-proto': 'https', authorization: `Bearer ${token}` } };
    const alone = { audiences: [], resourceMetadata: { resource: RESOURCE } };
    expect([seen(await ask(call))[1], seen(await ask(call, alone))[1]]).toEqual(['mcpAuthentication/audience', 'mcpAuthentication/audience']);
    expect(seen(await withToken({}, alone))[0]).toBe('rewrite');
  });
});

describe('scopes', () => {
  const requiredScopes = { endpoint: ['mcp'], tools: { pay: ['mcp.pay'], 'fs_*': ['files'] } };
  const METADATA_AT = 'resource_metadata="http://gw.test/.well-known/oauth-protected-resource/mcp"';
  const claimsOf = (verdict: Verdict) => (verdict.kind === 'rewrite' ? (verdict.facts ?? NO_FACTS) : NO_FACTS);
  const callOf = (name: string): Request => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } });

  /** What is said of a call of this tool, with a token of these scopes; undefined = without one. */
  async function call(name: string, scope: string | undefined, more: object = {}): Promise<unknown> {
    const policy = compile({ requiredScopes, ...more });
    const request = callWith(scope === undefined ? {} : { headers: { authorization: `Bearer ${await key.sign({ ...CLAIMS, scope })}` } });
    const before = await policy.apply(request, NO_FACTS);
    if (before.kind === 'deny') return seen(before);
    const no = policy.applyRequest?.(callOf(name), request, claimsOf(before));
    return no === undefined ? 'goes on' : seen(no);
  }
  const insufficient = (scope: string) => [403, 'mcpAuthentication/scope', `Bearer error="insufficient_scope", ${METADATA_AT}, scope="${scope}"`];
  const missing = (scope: string) => [401, 'mcpAuthentication/missing', `Bearer ${METADATA_AT}, scope="${scope}"`];

  test.each([
    ['echo', 'mcp', 'goes on'],
    ['pay', 'mcp mcp.pay', 'goes on'],
    ['echo', 'openid', insufficient('mcp')],
    ['pay', 'mcp', insufficient('mcp mcp.pay')],
    ['pay', 'mcp.pay', insufficient('mcp')],
    ['pay', 'mcp files other', insufficient('mcp mcp.pay files')],
  ])('a call of %s with the scopes %j: %j', async (name, scope, expected) => expect(await call(name, scope)).toEqual(expected));

  test('that the endpoint needs are what a client without a token is told to ask for', async () => {
    expect(await call('echo', undefined)).toEqual(missing('mcp'));
    expect(await call('echo', undefined, { requiredScopes: { tools: requiredScopes.tools } })).toEqual(missing('mcp read'));
  });

  test('that a tool needs are asked for in the mode optional too, and those of the endpoint of everybody', async () => {
    const optional = { mode: 'optional', requiredScopes: { tools: requiredScopes.tools } };
    expect(await call('echo', undefined, optional)).toBe('goes on');
    expect(await call('pay', undefined, optional)).toEqual(missing('mcp.pay'));
    expect(await call('pay', 'mcp.pay', optional)).toBe('goes on');
    expect(await call('echo', undefined, { mode: 'optional' })).toEqual(missing('mcp'));
  });

  test('of another issuer count for nothing', () => {
    const jwt = { iss: 'https://other.example', scope: 'mcp mcp.pay' };
    const no = compile({ mode: 'optional', requiredScopes }).applyRequest?.(callOf('pay'), callWith(), { principal: 'jwt:other', jwt });
    expect(no && seen(no)).toEqual(missing('mcp mcp.pay'));
  });

  test('are told of in words that OAuth has', async () => {
    const verdict = await withToken({ scope: 'x' }, { requiredScopes });
    expect(contentOf(verdict)).toEqual({ error: 'insufficient_scope', error_description: 'the token lacks a scope that this needs' });
  });

  test('of names have messages read, and none without', () => {
    expect(compileChain({ mcpAuthentication: config({ requiredScopes }) }, 'route', depsWith()).applyRequest).toBeDefined();
    for (const more of [{}, { requiredScopes: { endpoint: ['mcp'] } }]) expect(compileChain({ mcpAuthentication: config(more) }, 'route', depsWith()).applyRequest).toBeUndefined();
  });
});

describe('the document of the resource', () => {
  const RESOURCE_PATH = '/.well-known/oauth-protected-resource';

  test('is of the path it is asked for at, for pages of any origin', async () => {
    const verdict = await get(`${RESOURCE_PATH}/mcp`);
    expect(contentOf(verdict)).toEqual({ resource: 'http://gw.test/mcp', authorization_servers: [ISSUER], bearer_methods_supported: ['header'], scopes_supported: ['mcp', 'read'] });
    expect(verdict.kind === 'answer' && verdict.headers).toContainEqual(['access-control-allow-origin', '*']);
  });

  test('of the host has no slash at its end', async () => {
    expect(contentOf(await get(RESOURCE_PATH))).toMatchObject({ resource: 'http://gw.test' });
  });

  test('says what the operator wrote', async () => {
    const resourceMetadata = { resource: RESOURCE, resourceName: 'Docs', scopes_supported: ['a'] };
    expect(contentOf(await get(`${RESOURCE_PATH}/mcp`, { resourceMetadata }))).toMatchObject({ resource: RESOURCE, resource_name: 'Docs', scopes_supported: ['a'] });
  });

  test('sends clients to the mirror where the provider needs help', async () => {
    expect(contentOf(await get(`${RESOURCE_PATH}/mcp`, { provider: { keycloak: {} } }))).toMatchObject({ authorization_servers: ['http://gw.test/mcp'] });
  });

  test('is read, and not written', async () => {
    expect(seen(await get(`${RESOURCE_PATH}/mcp`, {}, { method: 'POST' }))[0]).toBe(405);
    expect(await get(`${RESOURCE_PATH}/mcp`, {}, { method: 'OPTIONS' })).toMatchObject({ kind: 'answer', status: 204 });
  });

  test('is not served beside its path', async () => {
    expect(seen(await get('/.well-known/oauth-protected-resources'))[0]).toBe(401);
  });
});

describe('the mirror of the authorization server', () => {
  const SERVER_PATH = '/.well-known/oauth-authorization-server';

  test('gives its metadata as it is, under the URL it is asked for at', async () => {
    expect(contentOf(await get(`${SERVER_PATH}/mcp`))).toEqual({ ...METADATA, issuer: 'http://gw.test/mcp' });
    expect(contentOf(await get(SERVER_PATH))).toEqual({ ...METADATA, issuer: 'http://gw.test' });
  });

  test.each([
    [{ auth0: {} }, { authorization_endpoint: `${ISSUER}/authorize?a=1&audience=${encodeURIComponent(RESOURCE)}`, registration_endpoint: METADATA.registration_endpoint }],
    [{ okta: {} }, { authorization_endpoint: `${ISSUER}/authorize?a=1&audience=${encodeURIComponent(RESOURCE)}`, registration_endpoint: `http://gw.test${SERVER_PATH}/mcp/client-registration` }],
    [{ keycloak: {} }, { authorization_endpoint: METADATA.authorization_endpoint, registration_endpoint: `http://gw.test${SERVER_PATH}/mcp/client-registration` }],
    [{ descope: {} }, { registration_endpoint: `http://gw.test${SERVER_PATH}/mcp/client-registration` }],
  ])('of %j has what clients of it need', async (provider, expected) => {
    expect(contentOf(await get(`${SERVER_PATH}/mcp`, { provider }))).toMatchObject(expected);
  });

  test('offers no registration where the server has none', async () => {
    const { registration_endpoint: _, ...document } = METADATA;
    const policy = compile({ provider: { keycloak: {} } }, { authorizationServer: () => ({ ...server, metadata: async () => document }) });
    expect(contentOf(await policy.apply(callWith({ method: 'GET', path: SERVER_PATH }), NO_FACTS))).not.toHaveProperty('registration_endpoint');
  });

  test('is not there while the server cannot be reached', async () => {
    const policy = compile({}, { authorizationServer: depsWith().authorizationServer });
    expect(seen(await policy.apply(callWith({ method: 'GET', path: SERVER_PATH }), NO_FACTS))[0]).toBe(502);
  });

  const register = (body: string, more: object = {}) => get(`${SERVER_PATH}/mcp/client-registration`, more, { method: 'POST', body: async () => new TextEncoder().encode(body) });

  test('passes the registration of a client on', async () => {
    expect([contentOf(await register('{"client_name":"a"}')), registrations]).toEqual([{ client_id: 'theirs' }, ['{"client_name":"a"}']]);
  });

  test('registers the client that all are, where there is one', async () => {
    expect(contentOf(await register('{"redirect_uris":["http://localhost/cb"]}', { clientId: 'shared' }))).toMatchObject({ client_id: 'shared', redirect_uris: ['http://localhost/cb'] });
    expect(seen(await register('{', { clientId: 'shared' }))[0]).toBe(400);
    expect(seen(await register(JSON.stringify({ redirect_uris: Array.from({ length: 33 }, () => 'x') }), { clientId: 'shared' }))[0]).toBe(400);
  });
});

describe('a server that refuses what clients have to send', () => {
  const AT = '/.well-known/oauth-authorization-server/mcp';
  const entra = { issuer: `${ISSUER}/tenant/v2.0`, provider: { entra: {} }, clientId: 'shared', clientSecret: 'hush' };
  const form = (body: string, headers: PolicyCall['headers'] = {}): Partial<PolicyCall> => ({
    method: 'POST', path: `${AT}/token`, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }, body: async () => new TextEncoder().encode(body),
  });

  test('is asked by way of us, and says that it has PKCE', async () => {
    expect(contentOf(await get(AT, entra))).toMatchObject({
      issuer: 'http://gw.test/mcp',
      authorization_endpoint: `http://gw.test${AT}/authorize`,
      token_endpoint: `http://gw.test${AT}/token`,
      registration_endpoint: `http://gw.test${AT}/client-registration`,
      code_challenge_methods_supported: ['S256'],
    });
  });

  test.each([
    [entra.issuer, `${ISSUER}/tenant/v2.0`],
    ['https://sts.windows.net/tenant/', 'https://login.microsoftonline.com/tenant/v2.0'],
  ])('of the tokens of %s is %s, with the client that all use', (issuer, expected) => {
    const asked: [string, SharedClient | undefined][] = [];
    compile({ ...entra, issuer }, { authorizationServer: (...of) => (asked.push([of[0], of[1]]), server) });
    expect(asked.map(([of, client]) => [of, client?.id, client?.secret?.reveal()])).toEqual([[expected, 'shared', 'hush']]);
  });

  test('gets the browser without the parameter, and nothing else changed', async () => {
    const query = 'response_type=code&client_id=shared&resource=https%3A%2F%2Fgw.test%2Fmcp&scope=a%20b&state=s%26t&redirect_uri=http%3A%2F%2Flocalhost%2Fcb';
    const verdict = await get(`${AT}/authorize`, entra, { query });
    const headers = verdict.kind === 'answer' ? Object.fromEntries(verdict.headers) : {};
    expect(verdict).toMatchObject({ kind: 'answer', status: 302 });
    expect(headers['location']).toBe(`${ISSUER}/authorize?a=1&response_type=code&client_id=shared&scope=a+b&state=s%26t&redirect_uri=http%3A%2F%2Flocalhost%2Fcb`);
  });

  test('gets the request for a token without the parameter, and its answer goes back as it is', async () => {
    tokenRequests.length = 0;
    expect(contentOf(await ask(form('grant_type=authorization_code&resource=r&resource=r&code=c', { authorization: 'Basic eA==' }), entra))).toEqual({ access_token: 'theirs' });
    expect(tokenRequests).toEqual([{ form: 'grant_type=authorization_code&code=c', authorization: 'Basic eA==' }]);
  });

  test.each([
    ['a parameter twice', form('client_id=shared&client_id=another'), 400],
    ['no form', { ...form('{}'), headers: { 'content-type': 'application/json' } }, 415],
    ['two credentials', form('grant_type=x', { authorization: ['Basic a', 'Basic b'] }), 400],
    ['a token by GET', { ...form(''), method: 'GET' }, 200],
  ])('is not asked with %s', async (_, call, status) => {
    tokenRequests.length = 0;
    const verdict = await ask(call, entra);
    expect([verdict.kind === 'deny' || verdict.kind === 'answer' ? verdict.status : verdict.kind, tokenRequests]).toEqual([status, []]);
  });

  test('is the only one: others are asked by clients themselves', async () => {
    tokenRequests.length = 0;
    expect(seen(await ask(form('grant_type=authorization_code'), { provider: { keycloak: {} } }))[0]).toBe(405);
    expect(seen(await get(`${AT}/authorize`, { provider: { keycloak: {} } }, { query: 'client_id=a' }))[0]).toBe('answer');
    expect(tokenRequests).toEqual([]);
  });
});

describe('its configuration', () => {
  test.each([
    ['no audience and no resource', { audiences: [] }],
    ['authentik without the client that all use', { provider: { authentik: {} } }],
    ['entra without the client that all use', { provider: { entra: {} } }],
    ['entra without a tenant', { provider: { entra: {} }, clientId: 'shared', issuer: 'https://login.microsoftonline.com' }],
    ['two providers', { provider: { okta: {}, auth0: {} } }],
    ['a client secret that nobody uses', { clientId: 'shared', clientSecret: 's' }],
    ['an empty client secret', { provider: { entra: {} }, clientId: 'shared', clientSecret: '' }],
    ['tokens in URLs', { authorizationLocation: { queryParameter: { name: 'token' } } }],
    ['tokens in URLs that an expression reads', { authorizationLocation: { expression: 'request.uri.query("token")[0]' } }],
    ['what is no expression', { authorizationLocation: { expression: 'request.headers[' } }],
    ['an issuer that is no URL', { issuer: 'me' }],
    ['a resource that is no URL', { resourceMetadata: { resource: 'mcp' } }],
    ['scopes where nothing is refused', { mode: 'permissive', requiredScopes: { endpoint: ['mcp'] } }],
    ['an unknown key', { audience: 'x' }],
  ])('refuses %s', (_, more) => {
    expect(mcpAuthentication.schema.safeParse(config(more)).success).toBe(false);
  });

  test.each([
    ['keycloak', 'https://id.example/realms/a', 'https://id.example/realms/a/protocol/openid-connect/certs'],
    ['okta', 'https://a.okta.example/oauth2/default', 'https://a.okta.example/oauth2/default/v1/keys'],
    ['okta', 'https://a.okta.example', 'https://a.okta.example/oauth2/v1/keys'],
    ['auth0', 'https://a.auth0.example/', 'https://a.auth0.example/.well-known/jwks.json'],
    ['descope', 'https://api.descope.example/v1/apps/agentic/P2a/M3b', 'https://api.descope.example/P2a/.well-known/jwks.json'],
    ['descope', 'https://api.descope.example/P2a', 'https://api.descope.example/P2a/.well-known/jwks.json'],
    ['authentik', 'https://id.example/application/o/mcp/', 'https://id.example/application/o/mcp/jwks/'],
    ['entra', 'https://login.microsoftonline.com/t-1/v2.0', 'https://login.microsoftonline.com/t-1/discovery/v2.0/keys'],
    ['entra', 'https://sts.windows.net/t-1/', 'https://login.microsoftonline.com/t-1/discovery/v2.0/keys'],
    ['entra', 'https://login.microsoftonline.us/t-1/v2.0', 'https://login.microsoftonline.us/t-1/discovery/v2.0/keys'],
    [undefined, 'https://id.example', 'https://id.example/.well-known/jwks.json'],
  ])('derives the keys of %s at %s', (name, issuer, expected) => {
    const asked: string[] = [];
    const keys: PolicyDeps['keys'] = (url) => {
      asked.push(url);
      return { current: () => undefined, refresh: () => undefined };
    };
    compile({ issuer, jwks: undefined, clientId: 'shared', provider: name && { [name]: {} } }, { keys });
    expect(asked).toEqual([expected]);
  });

  test('makes a chain that serves metadata', () => {
    expect(compileChain({ mcpAuthentication: config() }, 'route', depsWith()).answersMetadata).toBe(true);
    expect(compileChain({ cors: {} }, 'route', depsWith()).answersMetadata).toBe(false);
  });
});
