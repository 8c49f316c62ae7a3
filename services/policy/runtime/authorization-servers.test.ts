import { describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { AuthorizationServers, metadataUrls } from './authorization-servers.ts';
import type { Fetching } from './fetcher.ts';

const ISSUER = 'https://issuer.example/tenant';
const [OAUTH = '', OIDC = '', APPENDED = ''] = metadataUrls(ISSUER);
const NOTHING = new Uint8Array(0);
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
  });
  servers.follow(new Set([ISSUER]));
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
    servers.follow(new Set());
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
