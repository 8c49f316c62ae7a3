/** Tokens of callers that are exchanged at a token endpoint, which verifies who asks for what. */
import { generateKeyPairSync } from 'node:crypto';
import { jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { IssuingEndpoint, TokenReply, TokenRequest } from '../fixtures/token-endpoint.ts';
import { type FilesGateway, type FilesOptions, issuing, startFilesGateway } from '../world/files-gateway.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { callOf, initializeOf, note, send, sendModern, textOf, type Told } from '../world/wire.ts';

const SECRET = 'planted secret/+';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

let nats: NatsWorld;

beforeAll(async () => {
  nats = await startNats();
});
afterAll(() => nats?.stop());

interface World extends FilesGateway {
  readonly endpoint: IssuingEndpoint;
}

/** The server lets in whoever shows `exchanged-<token of the caller>`. */
async function world(exchange: object, answer: Parameters<typeof issuing>[0]): Promise<World> {
  const endpoint = await issuing(answer);
  const oauthTokenExchange = { host: endpoint.url, path: '/token', ...exchange };
  const admits: FilesOptions['admits'] = ({ headers }) => headers.authorization?.startsWith('Bearer exchanged-') === true;
  return { ...(await startFilesGateway({ nats, backendAuth: { oauthTokenExchange }, env: { CLIENT_SECRET: SECRET }, admits })), endpoint };
}

const subjectOf = ({ form }: TokenRequest): string => form.get('subject_token') ?? form.get('assertion') ?? '';
const issue = (request: TokenRequest): TokenReply => ({ body: { access_token: `exchanged-${subjectOf(request)}`, token_type: 'Bearer', expires_in: 3600 } });
const denied: TokenReply = { status: 401, body: { error: 'invalid_client' } };

const echo = (url: string, token: string): Promise<Told> =>
  sendModern(url, 'tools/call', { name: 'echo', headers: { authorization: `Bearer ${token}` }, params: { arguments: { message: token } } });

describe('the token of a caller', () => {
  test('is exchanged for what is asked for, in both eras, once', async () => {
    const wanted = { audiences: ['files', 'more'], scopes: ['read', 'write'], resources: ['https://files.test'], requestedTokenType: ACCESS_TOKEN };
    const { url, server, endpoint } = await world(wanted, issue);
    expect(textOf((await echo(url, 'ann')).json)).toBe('ann');
    const { headers: answered } = await send(url, { headers: { authorization: 'Bearer ann' }, body: initializeOf() });
    const headers = { authorization: 'Bearer ann', 'mcp-session-id': String(answered['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
    await send(url, { headers, body: note('notifications/initialized') });
    expect(textOf((await send(url, { headers, body: callOf('echo', { message: 'legacy' }) })).json)).toBe('legacy');
    expect((await send(url, { method: 'DELETE', headers })).status).toBe(204);
    expect(endpoint.seen).toHaveLength(1);
    const [{ method, path, form }] = endpoint.seen as [TokenRequest];
    expect([method, path, [...form]]).toEqual([
      'POST',
      '/token',
      [
        ['grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange'],
        ['subject_token', 'ann'],
        ['subject_token_type', ACCESS_TOKEN],
        ['audience', 'files'],
        ['audience', 'more'],
        ['resource', 'https://files.test'],
        ['scope', 'read write'],
        ['requested_token_type', ACCESS_TOKEN],
      ],
    ]);
    expect(server.seen.every((seen) => seen.headers.authorization === 'Bearer exchanged-ann')).toBe(true);
  });

  test('is an assertion with the grant of RFC 7523, and may stand elsewhere', async () => {
    const { url, endpoint } = await world({ grantType: 'jwtBearer', subjectToken: { source: { header: { name: 'x-user-token' } } } }, issue);
    const asked = sendModern(url, 'tools/call', { name: 'echo', headers: { 'x-user-token': 'ann' }, params: { arguments: { message: 'm' } } });
    expect(textOf((await asked).json)).toBe('m');
    expect([...(endpoint.seen[0]?.form ?? [])]).toEqual([['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'], ['assertion', 'ann']]);
  });

  test('may be read by an expression', async () => {
    const { url } = await world({ subjectToken: { source: { expression: 'request.headers["x-user"].split(" ")[1]' } } }, issue);
    const ask = (name: string) => sendModern(url, 'tools/call', { name: 'echo', headers: { [name]: 'token ann' }, params: { arguments: { message: 'm' } } });
    expect(textOf((await ask('x-user')).json)).toBe('m');
    expect((await ask('x-other')).json?.error?.message).toBe('files is asked with a token of the caller, and none came with the call');
  });

  test('is exchanged once for all who ask at the same time, and each caller gets their own', async () => {
    const { url, server, endpoint } = await world({}, issue);
    const callers = ['ann', 'bob', 'ann', 'bob', 'ann'];
    expect((await Promise.all(callers.map((caller) => echo(url, caller)))).map(({ json }) => textOf(json))).toEqual(callers);
    expect(endpoint.seen.map(subjectOf).toSorted()).toEqual(['ann', 'bob']);
    const shown = server.seen.filter(({ rpc }) => rpc?.method === 'tools/call').map(({ rpc, headers }) => [headers.authorization, (rpc?.params?.['arguments'] as { message: string } | undefined)?.message]);
    for (const [token, message] of shown) expect(token).toBe(`Bearer exchanged-${message}`);
  });

  test.each([[2, 2], [1, 3], [0, 3]])('with room for %d is exchanged %d times for three calls of two callers', async (maxEntries, times) => {
    const { url, endpoint } = await world({ cache: { maxEntries } }, issue);
    // The first look at the server is made with the token of the first caller; only calls count here.
    await echo(url, 'zoe');
    const before = endpoint.seen.length;
    for (const caller of ['ann', 'bob', 'ann']) expect(textOf((await echo(url, caller)).json)).toBe(caller);
    expect(endpoint.seen.length - before).toBe(times);
  });

  test('is exchanged anew when what was had has ended', async () => {
    const { url, endpoint } = await world({}, (request) => ({ body: { access_token: `exchanged-${subjectOf(request)}`, expires_in: 0 } }));
    await echo(url, 'ann');
    const before = endpoint.seen.length;
    await echo(url, 'ann');
    expect(endpoint.seen.length).toBe(before + 1);
  });
});

describe('a token endpoint knows the client', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signingKey = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
  const secret = { clientId: 'par ley', clientSecret: '$CLIENT_SECRET' };

  test.each<[string, object, (request: TokenRequest) => boolean | Promise<boolean>]>([
    ['by HTTP Basic, form-encoded', secret, ({ headers }) => headers.authorization === `Basic ${Buffer.from('par+ley:planted+secret%2F%2B').toString('base64')}`],
    ['by HTTP Basic when that is named', { ...secret, method: 'clientSecretBasic' }, ({ headers }) => headers.authorization?.startsWith('Basic ') === true],
    ['by the form', { ...secret, method: 'clientSecretPost' }, ({ headers, form }) => headers.authorization === undefined && form.get('client_id') === 'par ley' && form.get('client_secret') === SECRET],
    ['by its name alone', { clientId: 'public', method: 'clientSecretPost' }, ({ form }) => form.get('client_id') === 'public' && !form.has('client_secret')],
    [
      'by an assertion it signs',
      { method: 'privateKeyJwt', clientId: 'parley', signingKey, kid: 'k1', assertionAudience: 'https://as.test' },
      async ({ form }) => {
        const { payload, protectedHeader } = await jwtVerify(form.get('client_assertion') ?? '', publicKey, { issuer: 'parley', subject: 'parley', audience: 'https://as.test', maxTokenAge: '1m', requiredClaims: ['jti'] });
        return protectedHeader.kid === 'k1' && payload.exp !== undefined && form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
      },
    ],
  ])('%s', async (_, clientAuth, proves) => {
    const { url } = await world({ clientAuth }, async (request) => ((await proves(request)) ? issue(request) : denied));
    expect(textOf((await echo(url, 'ann')).json)).toBe('ann');
  });
});

describe('a token that cannot be had ends the call, and the server is not asked', () => {
  test.each<[string, Parameters<typeof issuing>[0], string]>([
    ['refuses', () => ({ status: 400, body: { error: 'invalid_grant', error_description: 'ann is no good' } }), 'answered HTTP 400 (invalid_grant)'],
    ['echoes the token as an error', () => ({ status: 400, body: { error: 'planted-token!' } }), 'answered HTTP 400'],
    ['says nothing of use', () => ({ body: 'planted <html>' }), 'gave no token'],
    ['gives no token', () => ({ body: { id_token: 'planted' } }), 'gave no token'],
    ['says too much', () => ({ body: 'x'.repeat(300_000) }), 'cannot be used: its answer is larger than 65536 bytes'],
    ['sends on elsewhere', () => ({ status: 307, body: {} }), 'answered HTTP 307'],
    ['is silent', () => undefined, 'did not answer within 5000 ms'],
  ])('by an endpoint that %s', async (_, answer, words) => {
    const { url, server, endpoint } = await world({}, answer);
    expect((await echo(url, 'planted-token')).json?.error).toEqual({ code: -32_603, message: `files: backendAuth.oauthTokenExchange: the token endpoint at ${endpoint.url} ${words}` });
    expect(server.seen).toEqual([]);
  });

  test('by an endpoint that is not there', async () => {
    const { url, server, endpoint } = await world({}, issue);
    await endpoint.close();
    expect((await echo(url, 'ann')).json?.error?.message).toBe(`files: backendAuth.oauthTokenExchange: the token endpoint at ${endpoint.url} cannot be used: ECONNREFUSED`);
    expect(server.seen).toEqual([]);
  });
});
