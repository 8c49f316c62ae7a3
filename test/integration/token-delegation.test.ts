/** Tokens that are exchanged on behalf of two, with more to say, over two endpoints: all of which verify what they are told. */
import { X509Certificate, hash } from 'node:crypto';
import { decodeProtectedHeader, importJWK, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { IssuingEndpoint, TokenReply, TokenRequest } from '../fixtures/token-endpoint.ts';
import { makeAuthority } from '../world/certificates.ts';
import { type FilesGateway, issuing, startFilesGateway } from '../world/files-gateway.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { type IssuerKey, makeKey } from '../world/tokens.ts';
import { callOf, initializeOf, note, send, sendModern, textOf, type Told } from '../world/wire.ts';

const TYPE = 'urn:ietf:params:oauth:token-type:';
const BASIC = `Basic ${Buffer.from('parley:planted-secret').toString('base64')}`;

let nats: NatsWorld;
let key: IssuerKey;

beforeAll(async () => {
  [nats, key] = await Promise.all([startNats(), makeKey()]);
});
afterAll(() => nats?.stop());

/** The server lets in whoever shows `exchanged…`. */
const gateway = (backendAuth: object): Promise<FilesGateway> =>
  startFilesGateway({ nats, backendAuth, env: { CLIENT_SECRET: 'planted-secret' }, admits: ({ headers }) => headers.authorization?.startsWith('Bearer exchanged') === true });

const echo = (url: string, headers: Record<string, string>): Promise<Told> => sendModern(url, 'tools/call', { name: 'echo', headers, params: { arguments: { message: 'm' } } });
const issue = (): TokenReply => ({ body: { access_token: 'exchanged', token_type: 'Bearer', expires_in: 3600 } });

describe('an actor', () => {
  const actorToken = { source: { header: { name: 'x-agent', prefix: 'Bearer ' } } };

  test('is told beside the subject, and tokens of one are not used for another', async () => {
    const as = await issuing(({ form }) => ({ body: { access_token: `exchanged-${form.get('subject_token')}-${form.get('actor_token')}`, expires_in: 3600 } }));
    const { url, server } = await gateway({ oauthTokenExchange: { host: as.url, actorToken } });
    for (const [user, agent] of [['ann', 'one'], ['ann', 'two'], ['ann', 'one']]) expect(textOf((await echo(url, { authorization: `Bearer ${user}`, 'x-agent': `Bearer ${agent}` })).json)).toBe('m');
    expect(as.seen.map(({ form }) => Object.fromEntries(form))).toMatchObject([
      { subject_token: 'ann', actor_token: 'one', actor_token_type: `${TYPE}access_token` },
      { subject_token: 'ann', actor_token: 'two' },
    ]);
    expect(server.seen.some(({ headers }) => 'x-agent' in headers)).toBe(false);
    expect((await echo(url, { authorization: 'Bearer ann' })).json?.error?.message).toBe('files is asked with a token of the caller, and none came with the call');
  });

  test('may act where the subject says so, and nothing is asked where not', async () => {
    const as = await issuing(issue);
    const { url, server } = await gateway({ oauthTokenExchange: { host: as.url, actorToken: { ...actorToken, tokenType: `${TYPE}jwt`, enforceMayAct: true } } });
    const agent = await key.sign({ sub: 'agent', iss: 'https://agents.test' });
    const ask = async (claims: Record<string, unknown>, acting = agent) => echo(url, { authorization: `Bearer ${await key.sign(claims)}`, 'x-agent': `Bearer ${acting}` });
    for (const may_act of [undefined, {}, 'agent', { sub: 'other' }, { sub: 'agent', iss: 'https://other.test' }, { constructor: {} }]) {
      expect((await ask({ sub: 'ann', may_act })).json?.error?.message).toBe('files: backendAuth.oauthTokenExchange.actorToken: the token of the caller does not let this actor act for them');
    }
    expect((await ask({ sub: 'ann', may_act: { sub: 'agent' } }, 'opaque')).json?.error).toBeDefined();
    expect([as.seen.length, server.seen.length]).toEqual([0, 0]);
    for (const may_act of [{ sub: 'agent' }, { sub: ['other', 'agent'], iss: 'https://agents.test' }]) expect(textOf((await ask({ sub: 'ann', may_act })).json)).toBe('m');
  });
});

test('further parameters are what expressions make of the call, each call’s own', async () => {
  const as = await issuing(issue);
  const { url, server } = await gateway({ oauthTokenExchange: { host: as.url, additionalParams: { tenant: 'request.headers["x-tenant"]', fixed: '"a b"' } } });
  for (const tenant of ['blue', 'red', 'blue']) expect(textOf((await echo(url, { authorization: 'Bearer ann', 'x-tenant': tenant })).json)).toBe('m');
  expect(as.seen.map(({ form }) => [form.get('tenant'), form.get('fixed')])).toEqual([['blue', 'a b'], ['red', 'a b']]);
  const from = server.seen.length;
  expect((await echo(url, { authorization: 'Bearer ann' })).json?.error?.message).toBe('files: backendAuth.oauthTokenExchange.additionalParams.tenant: its expression makes no text of this call');
  expect([as.seen.length, server.seen.length]).toEqual([2, from]);
});

describe('the certificate of a client', () => {
  const authority = makeAuthority();
  const { cert, key: signingKey } = authority.issue('parley');
  const leaf = new X509Certificate(cert);
  const clientAuth = (certificateHeader: string, certificate: string) => ({ method: 'privateKeyJwt', clientId: 'parley', signingKey, alg: 'ES256', assertionAudience: 'https://as.test', certificate, certificateHeader });
  const headerOf = ({ form }: TokenRequest) => decodeProtectedHeader(form.get('client_assertion') ?? '');

  test.each<[string, (header: Record<string, unknown>) => void]>([
    ['x5c', ({ x5c }) => expect((x5c as string[]).map((der) => new X509Certificate(Buffer.from(der, 'base64')).subject)).toEqual([leaf.subject, new X509Certificate(authority.ca).subject])],
    ['x5t#S256', (header) => expect(header['x5t#S256']).toBe(hash('sha256', leaf.raw, 'base64url'))],
  ])('is shown as %s in an assertion that its key signs', async (header, check) => {
    const as = await issuing(async (request) => {
      await jwtVerify(request.form.get('client_assertion') ?? '', leaf.publicKey, { issuer: 'parley', audience: 'https://as.test', maxTokenAge: '1m' });
      check(headerOf(request));
      return issue();
    });
    const { url } = await gateway({ oauthTokenExchange: { host: as.url, clientAuth: clientAuth(header, `${cert}${authority.ca}`) } });
    expect(textOf((await echo(url, { authorization: 'Bearer ann' })).json)).toBe('m');
  });

  test.each([
    ['of another key', authority.issue('other').cert, 'not the certificate of the signingKey'],
    ['that is none', 'planted', 'no chain of 1 to 10 certificates (PEM)'],
  ])('%s ends the call in words', async (_, certificate, words) => {
    const as = await issuing(issue);
    const { url } = await gateway({ oauthTokenExchange: { host: as.url, clientAuth: clientAuth('x5c', certificate) } });
    expect((await echo(url, { authorization: 'Bearer ann' })).json?.error?.message).toBe(`files: backendAuth.oauthTokenExchange.clientAuth.certificate: this is ${words}`);
    expect(as.seen).toEqual([]);
  });
});

test.each<[string, object, string]>([
  ['another type than was asked for', { access_token: 'x', issued_token_type: `${TYPE}refresh_token` }, 'gave a token of another type than was asked for'],
  ['a token that is shown in another way', { access_token: 'x', token_type: 'DPoP' }, 'gave a token that is no bearer token'],
])('%s is none', async (_, body, words) => {
  const as = await issuing(() => ({ body }));
  const { url, server } = await gateway({ oauthTokenExchange: { host: as.url, requestedTokenType: `${TYPE}access_token` } });
  expect((await echo(url, { authorization: 'Bearer ann' })).json?.error?.message).toBe(`files: backendAuth.oauthTokenExchange: the token endpoint at ${as.url} ${words}`);
  expect(server.seen).toEqual([]);
});

describe('access across applications (ID-JAG)', () => {
  const SERVER = 'https://resource-as.test';
  const denied: TokenReply = { status: 401, body: { error: 'invalid_client' } };
  let publicKey: Awaited<ReturnType<typeof importJWK>>;
  beforeAll(async () => {
    publicKey = await importJWK(key.jwk, 'ES256');
  });

  interface Both extends FilesGateway {
    readonly idp: IssuingEndpoint;
    readonly as: IssuingEndpoint;
  }

  /** An identity provider that verifies ID tokens, and an authorization server that verifies its assertions. */
  async function world(more: object = {}, idpAnswer?: Parameters<typeof issuing>[0], asAnswer?: Parameters<typeof issuing>[0]): Promise<Both> {
    const idp = await issuing(idpAnswer ?? (async ({ headers, form }) => {
      if (headers.authorization !== BASIC) return denied;
      const { payload } = await jwtVerify(form.get('subject_token') ?? '', publicKey, { audience: 'parley' });
      const assertion = await key.sign({ iss: 'https://idp.test', sub: payload.sub, aud: form.get('audience'), resource: form.get('resource'), scope: form.get('scope'), client_id: 'at-resource', exp: Math.floor(Date.now() / 1000) + 300 }, { typ: 'oauth-id-jag+jwt' });
      return { body: { access_token: assertion, issued_token_type: `${TYPE}id-jag`, token_type: 'N_A', expires_in: 300 } };
    }));
    const as = await issuing(asAnswer ?? (async ({ form }) => {
      if (form.get('client_id') !== 'at-resource' || form.get('client_secret') !== 'planted-secret' || form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer') return denied;
      const { payload } = await jwtVerify(form.get('assertion') ?? '', publicKey, { issuer: 'https://idp.test', audience: SERVER, typ: 'oauth-id-jag+jwt' });
      return { body: { access_token: `exchanged-${payload.sub}-${form.get('scope')}-${String(payload['scope'])}`, token_type: 'Bearer', expires_in: 3600 } };
    }));
    const crossAppAccess = {
      identityProvider: { host: idp.url, path: '/token', clientAuth: { clientId: 'parley', clientSecret: '$CLIENT_SECRET' } },
      resourceAuthorizationServer: { host: as.url, path: '/token', clientAuth: { method: 'clientSecretPost', clientId: 'at-resource', clientSecret: '$CLIENT_SECRET' } },
      audience: SERVER,
      resources: ['https://files.test'],
      scopes: ['read', 'write'],
      ...more,
    };
    return { ...(await gateway({ crossAppAccess })), idp, as };
  }
  const idToken = (sub: string): Promise<string> => key.sign({ sub, aud: 'parley', exp: Math.floor(Date.now() / 1000) + 600 });

  test('is had in two steps, in both eras, once for each caller', async () => {
    const { url, server, idp, as } = await world();
    const [ann, bob] = await Promise.all([idToken('ann'), idToken('bob')]);
    expect((await Promise.all([ann, ann, bob].map((token) => echo(url, { authorization: `Bearer ${token}` })))).map(({ json }) => textOf(json))).toEqual(['m', 'm', 'm']);
    const { headers: answered } = await send(url, { headers: { authorization: `Bearer ${ann}` }, body: initializeOf() });
    const headers = { authorization: `Bearer ${ann}`, 'mcp-session-id': String(answered['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
    await send(url, { headers, body: note('notifications/initialized') });
    expect(textOf((await send(url, { headers, body: callOf('echo', { message: 'legacy' }) })).json)).toBe('legacy');
    expect([idp.seen.length, as.seen.length]).toEqual([2, 2]);
    expect(Object.fromEntries(idp.seen[0]?.form ?? [])).toMatchObject({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', requested_token_type: `${TYPE}id-jag`, subject_token_type: `${TYPE}id_token`, audience: SERVER, resource: 'https://files.test', scope: 'read write',
    });
    expect([...(as.seen[0]?.form.keys() ?? [])]).toEqual(['grant_type', 'assertion', 'scope', 'client_id', 'client_secret']);
    expect(new Set(server.seen.map(({ headers: { authorization } }) => authorization))).toEqual(new Set(['Bearer exchanged-ann-read write-read write', 'Bearer exchanged-bob-read write-read write']));
  });

  test.each<[object, string | null]>([[{ accessTokenScopes: ['read'] }, 'read'], [{ accessTokenScopes: [] }, null]])('asks the second for other scopes than the first where that is written: %j', async (more, scope) => {
    const { url, as } = await world(more);
    expect(textOf((await echo(url, { authorization: `Bearer ${await idToken('ann')}` })).json)).toBe('m');
    expect(as.seen[0]?.form.get('scope')).toBe(scope);
  });

  test.each<[string, Parameters<typeof issuing>[0] | undefined, Parameters<typeof issuing>[0] | undefined, (world: Both) => string]>([
    ['the first refuses', () => ({ status: 400, body: { error: 'access_denied' } }), undefined, ({ idp }) => `identityProvider: the token endpoint at ${idp.url} answered HTTP 400 (access_denied)`],
    ['the first gives something else', () => ({ body: { access_token: 'planted', issued_token_type: `${TYPE}access_token` } }), undefined, ({ idp }) => `identityProvider: the token endpoint at ${idp.url} gave a token of another type than was asked for`],
    ['the second refuses', undefined, () => ({ status: 400, body: { error: 'invalid_grant' } }), ({ as }) => `resourceAuthorizationServer: the token endpoint at ${as.url} answered HTTP 400 (invalid_grant)`],
  ])('that cannot be had ends the call, and the server is not asked: %s', async (_, idpAnswer, asAnswer, words) => {
    const all = await world({}, idpAnswer, asAnswer);
    expect((await echo(all.url, { authorization: `Bearer ${await idToken('ann')}` })).json?.error?.message).toBe(`files: backendAuth.crossAppAccess.${words(all)}`);
    expect([all.server.seen.length, idpAnswer === undefined ? 0 : all.as.seen.length]).toEqual([0, 0]);
  });
});
