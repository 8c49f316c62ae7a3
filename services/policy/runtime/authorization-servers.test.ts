import { describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { CallerSeal } from '#host/caller-seal.ts';
import { Secret } from '#protocol/config/secret.ts';
import { tokenPurpose } from '#protocol/subjects/policy.ts';
import { AuthorizationServers, clientKey, metadataUrls } from './authorization-servers.ts';
import type { Fetching } from './fetcher.ts';

const ISSUER = 'https://issuer.example/tenant';
const [OAUTH = '', OIDC = '', APPENDED = ''] = metadataUrls(ISSUER);
const NOTHING = new Uint8Array(0);
const seal = new CallerSeal(() => undefined);
const clients = new Map([[clientKey(ISSUER, 'shared'), { id: 'shared', secret: new Secret('hush') }]]);
const document = (more: object = {}): string => JSON.stringify({ issuer: ISSUER, registration_endpoint: 'https://issuer.example/register', ...more });

function serversThat(serve: Readonly<Record<string, string>>) {
  const gets: string[] = [];
  const posts: Fetching[] = [];
  const servers = new AuthorizationServers({
    async get(url) {
      gets.push(url);
      const text = serve[url];
      if (text === undefined) throw new Fault('upstream', `${url} answered 404`);
      return text;
    },
    async fetch(fetching) {
      posts.push(fetching);
      return { status: 201, text: '{}' };
    },
  }, seal);
  servers.follow({ issuers: new Set([ISSUER]), clients });
  const ask = (verb: 'metadata' | 'register', payload = NOTHING) => servers.answer({ issuer: ISSUER, verb }, payload);
  return { servers, gets, posts, ask };
}

test('metadata is looked for in the three places, in the order of the specification', () => {
  expect([OAUTH, OIDC, APPENDED]).toEqual([
    'https://issuer.example/.well-known/oauth-authorization-server/tenant',
    'https://issuer.example/.well-known/openid-configuration/tenant',
    'https://issuer.example/tenant/.well-known/openid-configuration',
  ]);
  expect(metadataUrls('https://issuer.example/')).toEqual(['https://issuer.example/.well-known/oauth-authorization-server', 'https://issuer.example/.well-known/openid-configuration']);
});

describe('the metadata of an issuer', () => {
  test('is fetched where it is, once for all who ask', async () => {
    const { gets, ask } = serversThat({ [APPENDED]: document() });
    const answers = await Promise.all([ask('metadata'), ask('metadata')]);
    expect([answers, gets]).toEqual([[{ status: 200, text: document() }, { status: 200, text: document() }], [OAUTH, OIDC, APPENDED]]);
  });

  test('counts where it is of that issuer', async () => {
    const { ask } = serversThat({ [OAUTH]: document({ issuer: 'https://evil.example' }), [OIDC]: document({ issuer: `${ISSUER}/` }) });
    expect((await ask('metadata')).text).toBe(document({ issuer: `${ISSUER}/` }));
  });

  test.each(['no JSON', '[]', '{}', document({ issuer: 'https://evil.example' })])('is not %s', async (text) => {
    await expect(serversThat({ [APPENDED]: text }).ask('metadata')).rejects.toMatchObject({ code: 'upstream' });
  });

  test('is not asked for on behalf of others', async () => {
    const { servers, ask, gets } = serversThat({ [OAUTH]: document() });
    servers.follow({ issuers: new Set(), clients: new Map() });
    await expect(ask('metadata')).rejects.toMatchObject({ code: 'gone' });
    expect(gets).toEqual([]);
  });
});

describe('a client', () => {
  test('is registered where the metadata says, and not at a private address', async () => {
    const { posts, ask } = serversThat({ [OAUTH]: document() });
    expect(await ask('register', new TextEncoder().encode('{}'))).toEqual({ status: 201, text: '{}' });
    expect(posts).toMatchObject([{ url: 'https://issuer.example/register', inside: false, post: { type: 'application/json' } }]);
  });

  test('cannot be registered where there is no such place', async () => {
    await expect(serversThat({ [OAUTH]: document({ registration_endpoint: 'none' }) }).ask('register')).rejects.toMatchObject({ code: 'upstream' });
  });
});

describe('a token', () => {
  const TOKEN = 'https://issuer.example/token';
  const question = { issuer: ISSUER, client: 'shared' };
  const decoder = new TextDecoder();
  const sealed = async (request: object, purpose = tokenPurpose('question', question)) => new TextEncoder().encode(await seal.sealText(JSON.stringify(request), purpose, 60_000));
  const form = 'grant_type=authorization_code&client_id=shared&code=c';

  test('is asked for with the secret of the client, and both ways are sealed', async () => {
    const { servers, posts } = serversThat({ [OAUTH]: document({ token_endpoint: TOKEN }) });
    const { status, text } = await servers.answer({ ...question, verb: 'token' }, await sealed({ form, authorization: undefined }));
    expect([status, await seal.openText(text, tokenPurpose('answer', question))]).toEqual([201, '{}']);
    expect(text).not.toContain('{');
    expect(posts.map(({ url, inside, post }) => [url, inside, post?.type, decoder.decode(post?.body)])).toEqual([[TOKEN, false, 'application/x-www-form-urlencoded', `${form}&client_secret=hush`]]);
  });

  test.each([
    ['that is not named with its issuer', { client: 'another' }, 'gone'],
    ['that is not named at all', { client: undefined }, 'gone'],
  ])('is not asked for a client %s', async (_, more, code) => {
    const { servers, posts } = serversThat({ [OAUTH]: document({ token_endpoint: TOKEN }) });
    await expect(servers.answer({ ...question, ...more, verb: 'token' }, await sealed({ form }))).rejects.toMatchObject({ code });
    expect(posts).toEqual([]);
  });

  test.each([
    ['in clear', async () => new TextEncoder().encode(JSON.stringify({ form }))],
    ['sealed for something else', () => sealed({ form }, tokenPurpose('answer', question))],
  ])('is not asked for by a request that came %s', async (_, payload) => {
    const { servers, posts } = serversThat({ [OAUTH]: document({ token_endpoint: TOKEN }) });
    await expect(servers.answer({ ...question, verb: 'token' }, await payload())).rejects.toMatchObject({ code: 'upstream', facts: { reason: 'seal' } });
    expect(posts).toEqual([]);
  });

  test('is not there where the server names no endpoint for it', async () => {
    const { servers } = serversThat({ [OAUTH]: document() });
    await expect(servers.answer({ ...question, verb: 'token' }, await sealed({ form }))).rejects.toMatchObject({ code: 'upstream' });
  });
});
