/** The client of identity providers, asked as ingress asks it, against a provider that says whatever a test wants it to. */
import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientDigest, oidcSchema } from '#policies/logins/config.ts';
import type { LoginBegun, LoginResult } from '#policies/logins/provider.ts';
import { open, seal } from '#policies/logins/seal.ts';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type CrookedProvider, claimsFor, startCrookedProvider } from '../fixtures/identity-provider.ts';
import { COOKIE_KEY } from '../world/policy.ts';
import { forge, keySet, makeKey } from '../world/tokens.ts';
import { Fetcher } from '../../services/policy/runtime/fetcher.ts';
import { IdentityProviders } from '../../services/policy/runtime/identity-providers.ts';
import { discoveredFacts, writtenFacts } from '../../services/policy/runtime/oidc-metadata.ts';

const CALLBACK = 'https://gw.test/oauth/callback';
const SECRET = 'a secret/+ of the client';

let provider: CrookedProvider;
let fetcher: Fetcher;
let providers: IdentityProviders | undefined;
let told: string[];

beforeEach(async () => {
  provider = await startCrookedProvider();
  fetcher = new Fetcher(2_000);
  told = [];
});
afterEach(async () => {
  providers?.stop();
  providers = undefined;
  await Promise.all([fetcher.close(), provider.close()]);
});

const configOf = (more: object = {}) => oidcSchema.parse({ issuer: provider.issuer, clientId: 'gateway', clientSecret: SECRET, redirectURI: CALLBACK, ...more });

interface Client {
  begin(state?: string): Promise<LoginBegun>;
  finish(begun: LoginBegun, query?: string, state?: string): Promise<LoginResult>;
  end(): Promise<{ readonly url?: string }>;
  readonly digest: string;
}

/** As ingress asks. */
function clientOf(more: object = {}, key = COOKIE_KEY): Client {
  const config = configOf(more);
  const digest = clientDigest(config);
  const say = (what: string) => (_: string, why?: unknown) => void told.push(why === undefined ? what : `${what}: ${why instanceof Error ? why.message : String(why)}`);
  providers ??= new IdentityProviders({ key: COOKIE_KEY, now: Date.now, refreshMs: 3_600_000, fetcher, found: say('found'), notFound: say('not found'), refused: say('refused') });
  providers.follow(new Map([[digest, config]]));
  const ask = async (verb: 'begin' | 'finish' | 'end', question: object): Promise<unknown> => {
    const payload = new TextEncoder().encode(await seal(question, { key, purpose: `ask ${digest} ${verb}` }, Date.now() + 10_000));
    const answer = await (providers as IdentityProviders).answer({ client: digest, verb }, payload);
    const opened = await open(new TextDecoder().decode(answer), { key, purpose: `answer ${digest} ${verb}` }, Date.now());
    return typeof opened === 'string' ? opened : opened.value;
  };
  return {
    digest,
    begin: (state = 'the-state') => ask('begin', { state }) as Promise<LoginBegun>,
    finish: (begun, query = provider.back(new URL(begun.url)).search.slice(1), state = 'the-state') => ask('finish', { query, state, nonce: begun.nonce, verifier: begun.verifier }) as Promise<LoginResult>,
    end: () => ask('end', {}) as Promise<{ url?: string }>,
  };
}

async function logIn(more: object = {}): Promise<LoginResult> {
  const client = clientOf(more);
  return client.finish(await client.begin());
}

describe('a login', () => {
  test('sends the browser with all that ties its return to it', async () => {
    const { url, nonce } = await clientOf({ scopes: ['profile', 'openid'] }).begin();
    const { origin, pathname, searchParams } = new URL(url);
    expect([origin, pathname, Object.fromEntries(searchParams)]).toEqual([
      provider.issuer,
      '/authorize',
      { response_type: 'code', client_id: 'gateway', redirect_uri: CALLBACK, scope: 'openid profile', state: 'the-state', nonce, code_challenge: expect.stringMatching(/^[\w-]{43}$/), code_challenge_method: 'S256' },
    ]);
  });

  test('is another one each time', async () => {
    const client = clientOf();
    const [one, other] = [await client.begin(), await client.begin()];
    expect([one.nonce === other.nonce, one.verifier === other.verifier]).toEqual([false, false]);
  });

  test('is finished with the code, the verifier and the secret, in the Authorization header', async () => {
    expect(await logIn()).toEqual({ claims: expect.objectContaining({ sub: 'ada', aud: 'gateway' }) });
    const [{ method, headers, form } = { method: '', headers: {}, form: new URLSearchParams() }] = provider.exchanges;
    const basic = `gateway:${encodeURIComponent(SECRET).replaceAll('%20', '+')}`;
    expect([method, headers.authorization, headers['content-type'], form.get('client_secret')]).toEqual(['POST', `Basic ${Buffer.from(basic).toString('base64')}`, expect.stringMatching(/^application\/x-www-form-urlencoded/), null]);
    expect(Object.fromEntries(form)).toEqual({ grant_type: 'authorization_code', code: expect.any(String), redirect_uri: CALLBACK, code_verifier: expect.stringMatching(/^[\w-]{43}$/) });
  });

  test('shows the secret in the body where the provider wants it there', async () => {
    provider.document = { ...provider.document, token_endpoint_auth_methods_supported: ['private_key_jwt', 'client_secret_post'] };
    await logIn();
    expect([provider.exchanges[0]?.headers.authorization, provider.exchanges[0]?.form.get('client_secret')]).toEqual([undefined, SECRET]);
  });

  test('needs no discovery where the configuration says all, keys included', async () => {
    const { issuer, key } = provider;
    const written = { authorizationEndpoint: `${issuer}/authorize?tenant=1`, tokenEndpoint: `${issuer}/token`, tokenEndpointAuth: 'clientSecretPost', jwks: keySet(key) };
    expect(await logIn(written)).toHaveProperty('claims.sub', 'ada');
    expect(provider.asked.map(({ path }) => path)).toEqual(['/token']);
    expect(provider.exchanges[0]?.form.get('client_secret')).toBe(SECRET);
    expect(new URL((await clientOf(written).begin()).url).searchParams.get('tenant')).toBe('1');
  });

  test('takes a discovery document of the configuration', async () => {
    expect(await logIn({ discovery: JSON.stringify(provider.document) })).toHaveProperty('claims.sub', 'ada');
    expect(provider.asked.map(({ path }) => path)).toEqual(['/token', '/jwks']);
  });

  test('fetches the keys of the provider once for many', async () => {
    const client = clientOf();
    for (let index = 0; index < 3; index++) await client.finish(await client.begin());
    expect(provider.asked.filter(({ path }) => path === '/jwks')).toHaveLength(1);
  });
});

describe('what a provider answers that is not good', () => {
  const made = (change: (claims: Record<string, unknown>) => Record<string, unknown>) => (claims: Readonly<Record<string, unknown>>) => provider.key.sign(change({ ...claims }));

  test.each<[string, LoginResult, () => CrookedProvider['idToken']]>([
    ['the nonce of another login', { refused: 'nonce' }, () => made((claims) => ({ ...claims, nonce: 'other' }))],
    ['no nonce', { refused: 'token' }, () => made((claims) => ({ ...claims, nonce: undefined }))],
    ['no signature', { refused: 'token' }, () => (claims) => forge({ alg: 'none' }, claims)],
    ['no signature, with the id of a key', { refused: 'token' }, () => (claims) => forge({ alg: 'none', kid: 'key-1' }, claims)],
    ['the signature of another token', { refused: 'token' }, () => async (claims) => `${forge({ alg: 'RS256', kid: 'key-1' }, { ...claims, sub: 'eve' })}${(await provider.key.sign(claims)).split('.')[2]}`],
    ['another issuer', { refused: 'token' }, () => made((claims) => ({ ...claims, iss: 'https://other.test' }))],
    ['another audience', { refused: 'token' }, () => made((claims) => ({ ...claims, aud: 'other' }))],
    ['several audiences, and another party', { refused: 'token' }, () => made((claims) => ({ ...claims, aud: ['gateway', 'other'], azp: 'other' }))],
    ['a time that is over', { refused: 'token' }, () => made((claims) => ({ ...claims, exp: Number(claims['iat']) - 120, iat: Number(claims['iat']) - 600 }))],
    ['no subject', { refused: 'token' }, () => made((claims) => ({ ...claims, sub: undefined }))],
    ['no token', { refused: 'token' }, () => () => ''],
  ])('%s is refused', async (_, refused, token) => {
    provider.idToken = token();
    expect(await logIn()).toEqual(refused);
  });

  test('a signature by the client secret, or by the public key as a secret, is refused', async () => {
    for (const secret of [SECRET, keySet(provider.key)]) {
      provider.idToken = (claims) => {
        const text = forge({ alg: 'HS256', kid: 'key-1' }, claims);
        return `${text}${createHmac('sha256', secret).update(text.slice(0, -1)).digest('base64url')}`;
      };
      expect(await logIn()).toEqual({ refused: 'token' });
    }
  });

  test('the key of somebody else is refused', async () => {
    const other = await makeKey('RS256', 'key-1');
    provider.idToken = other.sign;
    expect(await logIn()).toEqual({ refused: 'token' });
  });

  test('a code that is not taken is refused', async () => {
    provider.instead = { status: 400, body: { error: 'invalid_grant', error_description: 'gone' } };
    expect(await logIn()).toEqual({ refused: 'code' });
    expect(told).toEqual(['found']);
  });

  test('the answer of another provider (mix-up) is refused, and its code not shown to this one', async () => {
    provider.document = { ...provider.document, authorization_response_iss_parameter_supported: true };
    const client = clientOf();
    const begun = await client.begin();
    const query = provider.back(new URL(begun.url)).search.slice(1);
    expect(await client.finish(begun, `${query}&iss=https%3A%2F%2Fother.test`)).toEqual({ refused: 'token' });
    expect(await client.finish(begun, query)).toEqual({ refused: 'token' });
    expect(provider.exchanges).toEqual([]);
    expect(await client.finish(begun, `${query}&iss=${encodeURIComponent(provider.issuer)}`)).toHaveProperty('claims');
  });

  test.each<[string, CrookedProvider['instead'], RegExp]>([
    ['refuses the client', { status: 401, body: { error: 'invalid_client' } }, /refuses this client/],
    ['refuses the client with a secret', { status: 401, body: { error: `bad ${SECRET}`, error_description: SECRET } }, /refuses this client/],
    ['fails', { status: 500, body: 'no' }, /cannot be used/],
    ['gives a token that is none', { body: { access_token: 'a', token_type: 'Bearer', id_token: 'not.a.token' } }, /cannot be used/],
    ['talks of something else', { body: '<html>' }, /cannot be used/],
    ['talks without an end', { body: 'x'.repeat(300_000) }, /answers with more than/],
    ['says nothing', 'silence', /did not answer in time/],
  ])('a token endpoint that %s is a fault, and its words are nobody\'s', async (_, instead, message) => {
    await fetcher.close();
    fetcher = new Fetcher(300);
    provider.instead = instead;
    const fault = await logIn().catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(Fault);
    expect((fault as Fault).message).toMatch(message);
    expect(String((fault as Fault).message) + JSON.stringify(told)).not.toContain(SECRET);
  });

  test('a provider that is gone is a fault', async () => {
    const client = clientOf();
    const begun = await client.begin();
    const query = provider.back(new URL(begun.url)).search.slice(1);
    await provider.close();
    await expect(client.finish(begun, query)).rejects.toThrow(/cannot be reached: ECONNREFUSED/);
    provider = await startCrookedProvider();
  });

  test('a token endpoint inside, of a provider outside, is not asked', async () => {
    const issuer = 'https://login.example.com';
    const document = { issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: 'https://10.0.0.1/token', jwks_uri: `${issuer}/k` };
    const client = clientOf({ issuer, discovery: JSON.stringify(document) });
    await expect(client.finish(await client.begin(), 'code=c&state=the-state')).rejects.toThrow('https://10.0.0.1/token is a private address');
  });
});

describe('the discovery of a provider', () => {
  test('is done before anybody logs in, and again when it failed', async () => {
    const { document } = provider;
    provider.document = undefined;
    const client = clientOf();
    await expect(client.begin()).rejects.toThrow(/answered 500/);
    expect(told).toEqual([expect.stringMatching(/^not found: .*openid-configuration answered 500$/)]);
    provider.document = document;
    await expect.poll(() => client.begin().then(() => 'begun', () => 'not yet'), { timeout: 5_000 }).toBe('begun');
    expect(told.at(-1)).toBe('found');
  });

  test('that fails later leaves what was known', async () => {
    providers = new IdentityProviders({ key: COOKIE_KEY, now: Date.now, refreshMs: 10, fetcher, found: () => told.push('found'), notFound: () => told.push('not found'), refused: () => undefined });
    const client = clientOf();
    await client.begin();
    provider.document = undefined;
    await expect.poll(() => told.at(-1)).toBe('not found');
    expect(await client.begin()).toHaveProperty('url');
    provider.document = { issuer: 'https://other.test' };
    const failed = told.length;
    await expect.poll(() => told.length).toBeGreaterThan(failed + 1);
    expect(await client.begin()).toHaveProperty('url');
  });

  const facts = { issuer: 'https://login.example.com', authorization_endpoint: 'https://login.example.com/a', token_endpoint: 'https://login.example.com/t', jwks_uri: 'https://login.example.com/k' };
  test.each<[string, unknown, RegExp]>([
    ['is no JSON', '<html>', /is not a JSON object/],
    ['is a list', '[]', /is not a JSON object/],
    ['is of another issuer', { ...facts, issuer: 'https://login.example.com/' }, /names another issuer/],
    ['has no endpoint', { ...facts, token_endpoint: undefined }, /has no token_endpoint/],
    ['sends browsers over http', { ...facts, authorization_endpoint: 'http://login.example.com/a' }, /has no authorization_endpoint that is an https URL/],
    ['sends browsers into a script', { ...facts, authorization_endpoint: 'javascript:alert(1)' }, /has no authorization_endpoint/],
    ['sends browsers into a script at their logout', { ...facts, end_session_endpoint: 'javascript:alert(1)' }, /has no end_session_endpoint/],
    ['has its keys elsewhere than on the web', { ...facts, jwks_uri: 'file:///k' }, /has no jwks_uri/],
    ['takes no secret', { ...facts, token_endpoint_auth_methods_supported: ['private_key_jwt'] }, /takes no client secret/],
    ['signs nothing', { ...facts, id_token_signing_alg_values_supported: ['none', 'HS256'] }, /names no way of signing/],
  ])('refuses a document that %s', (_, document, message) => {
    const text = typeof document === 'string' ? document : JSON.stringify(document);
    expect(() => discoveredFacts(text, facts)).toThrow(message);
    expect(() => writtenFacts(configOf({ issuer: facts.issuer, discovery: { file: '/none' } }))).toThrow('the file /none cannot be read: there is no such file');
  });

  test('takes of the ways of signing those that both sides take', () => {
    expect(discoveredFacts(JSON.stringify({ ...facts, id_token_signing_alg_values_supported: ['none', 'HS256', 'ES256'] }), facts).metadata.id_token_signing_alg_values_supported).toEqual(['ES256']);
  });
});

describe('who asks', () => {
  test('for a client that nobody names is told so', async () => {
    const { digest } = clientOf();
    providers?.follow(new Map());
    await expect(providers?.answer({ client: digest, verb: 'begin' }, new Uint8Array())).rejects.toMatchObject({ code: 'gone' });
  });

  test('with another key is told that, and nothing is asked of the provider', async () => {
    await expect(clientOf({}, new Secret('0d'.repeat(32))).begin()).rejects.toMatchObject({ code: 'upstream', facts: { reason: 'cookie-key' } });
  });

  test('what was sealed for something else is told the same', async () => {
    const { digest } = clientOf();
    const payload = new TextEncoder().encode(await seal({ state: 's' }, { key: COOKIE_KEY, purpose: `ask ${digest} finish` }, Date.now() + 1_000));
    await expect(providers?.answer({ client: digest, verb: 'begin' }, payload)).rejects.toMatchObject({ facts: { reason: 'cookie-key' } });
  });

  test('where a session of the provider ends is told, if the provider says so', async () => {
    expect(await clientOf().end()).toEqual({});
    provider.document = { ...provider.document, end_session_endpoint: `${provider.issuer}/end` };
    expect((await clientOf({ scopes: ['other'] }).end()).url).toBe(`${provider.issuer}/end?client_id=gateway`);
  });

  test('after the secret of a client changed is answered with the new one', async () => {
    await logIn();
    await logIn({ clientSecret: 'new' });
    expect(provider.exchanges.map(({ headers }) => Buffer.from(headers.authorization?.slice(6) ?? '', 'base64').toString().split(':')[1])).toEqual([encodeURIComponent(SECRET).replaceAll('%20', '+'), 'new']);
  });

  test('gets claims that are those of the token', async () => {
    const result = await logIn();
    expect('claims' in result && Object.keys(result.claims).toSorted()).toEqual(Object.keys(claimsFor('', '')).toSorted());
  });
});
