/** Credentials of Google, at a token endpoint and a metadata server that verify what they get. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startTokenEndpoint, type IssuingEndpoint, type TokenReply, type TokenRequest } from '../fixtures/token-endpoint.ts';
import { startParley } from '../world/parley.ts';
import { callModern, openLegacy, sendModern } from '../world/wire.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const EMAIL = 'parley@project.iam.gserviceaccount.com';

let folder: string;
const opened: (() => Promise<void>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-google-'));
});
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function google(answer: (request: TokenRequest) => TokenReply | Promise<TokenReply>): Promise<IssuingEndpoint> {
  const endpoint = await startTokenEndpoint(answer);
  opened.push(() => endpoint.close());
  return endpoint;
}

async function world(gcp: object, admitted: string, env: Record<string, string> = {}): Promise<{ url: string; server: MisbehavingHttp }> {
  const server = await startMisbehaving({ admits: ({ headers }) => headers.authorization === `Bearer ${admitted}` });
  opened.push(() => server.close());
  const targets = [{ name: 'files', mcp: { host: server.url }, policies: { backendAuth: { gcp } } }];
  const parley = await startParley({ env: { HOME: folder, ...env }, config: { mcp: { targets } } });
  opened.push(() => parley.stop());
  return { url: parley.url, server };
}

const accountFile = async (endpoint: IssuingEndpoint): Promise<string> => {
  const file = join(folder, `${crypto.randomUUID()}.json`);
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  await writeFile(file, JSON.stringify({ type: 'service_account', client_email: EMAIL, private_key: key, private_key_id: 'k1', token_uri: `${endpoint.url}/token` }));
  return file;
};

/** The grant of a service account, verified. */
async function grantOf({ form }: TokenRequest, endpoint: IssuingEndpoint): Promise<Record<string, unknown>> {
  expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
  const { payload } = await jwtVerify(form.get('assertion') ?? '', publicKey, { issuer: EMAIL, audience: `${endpoint.url}/token`, maxTokenAge: '5m' });
  return payload;
}

async function both(url: string): Promise<void> {
  expect(await (await openLegacy(url)).call('echo', { message: 'legacy' })).toBe('legacy');
  expect(await callModern(url, 'echo', { message: 'modern' })).toBe('modern');
}

describe('a service account', () => {
  test('gets an access token for its signed grant, once', async () => {
    const endpoint = await google(async (request) => {
      expect(await grantOf(request, endpoint)).toMatchObject({ scope: 'https://www.googleapis.com/auth/cloud-platform' });
      return { body: { access_token: 'at-1', expires_in: 3600 } };
    });
    await both((await world({ credential: { file: await accountFile(endpoint) } }, 'at-1')).url);
    expect(endpoint.seen).toHaveLength(1);
  });

  test.each([['https://audience.test', 'https://audience.test'], [undefined, 'https://127.0.0.1']])('gets an ID token, for %s that is written: %s', async (audience, expected) => {
    const token = await new SignJWT({}).setProtectedHeader({ alg: 'RS256' }).setExpirationTime('1h').sign(privateKey);
    const asked: unknown[] = [];
    const endpoint = await google(async (request) => {
      asked.push((await grantOf(request, endpoint))['target_audience']);
      return { body: { id_token: token } };
    });
    const { url } = await world({ type: 'idToken', ...(audience === undefined ? {} : { audience }) }, token, { GOOGLE_APPLICATION_CREDENTIALS: await accountFile(endpoint) });
    await both(url);
    expect(asked).toEqual([expected]);
  });
});

test('a user gets an access token for a refresh token', async () => {
  const endpoint = await google(({ form }) => {
    expect(Object.fromEntries(form)).toEqual({ grant_type: 'refresh_token', client_id: 'c', client_secret: 's', refresh_token: 'r' });
    return { body: { access_token: 'at-2', expires_in: 3600 } };
  });
  const credential = JSON.stringify({ type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'r', token_uri: endpoint.url });
  await both((await world({ credential: '$ACCOUNT' }, 'at-2', { ACCOUNT: credential })).url);
});

test.each([
  ['an access token', {}, '/computeMetadata/v1/instance/service-accounts/default/token'],
  ['an ID token', { type: 'idToken', audience: 'https://a.test' }, '/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fa.test&format=full'],
])('the metadata server gives %s', async (_, gcp, path) => {
  const token = await new SignJWT({}).setProtectedHeader({ alg: 'RS256' }).setExpirationTime('1h').sign(privateKey);
  const metadata = await google(({ method, path: asked, headers }) => {
    expect([method, asked, headers['metadata-flavor']]).toEqual(['GET', path, 'Google']);
    return { body: 'type' in gcp ? token : { access_token: token, expires_in: 3600 } };
  });
  await both((await world(gcp, token, { GCE_METADATA_HOST: new URL(metadata.url).host })).url);
  expect(metadata.seen).toHaveLength(1);
});

test.each([
  ['no JSON', 'planted'],
  ['an account of another kind', JSON.stringify({ type: 'external_account', planted: 'planted' })],
])('%s is an error in words, and the server is not asked', async (_, credential) => {
  const { url, server } = await world({ credential: '$ACCOUNT' }, '-', { ACCOUNT: credential });
  const { json } = await sendModern(url, 'tools/call', { name: 'echo' });
  expect(json?.error?.message).toBe('files: backendAuth.gcp.credential: expected the JSON of a service_account or an authorized_user');
  expect(server.seen).toEqual([]);
});
