/** Credentials of Google, at a token endpoint and a metadata server that verify what they get. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { IssuingEndpoint, TokenReply, TokenRequest } from '../fixtures/token-endpoint.ts';
import { type FilesGateway, issuing, startFilesGateway } from '../world/files-gateway.ts';
import { callModern, openLegacy, sendModern } from '../world/wire.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const EMAIL = 'parley@project.iam.gserviceaccount.com';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-google-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const world = (gcp: object, admitted: string, env: Record<string, string> = {}): Promise<FilesGateway> =>
  startFilesGateway({ backendAuth: { gcp }, env: { HOME: folder, ...env }, admits: ({ headers }) => headers.authorization === `Bearer ${admitted}` });

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
    const endpoint = await issuing(async (request) => {
      expect(await grantOf(request, endpoint)).toMatchObject({ scope: 'https://www.googleapis.com/auth/cloud-platform' });
      return { body: { access_token: 'at-1', expires_in: 3600 } };
    });
    await both((await world({ credential: { file: await accountFile(endpoint) } }, 'at-1')).url);
    expect(endpoint.seen).toHaveLength(1);
  });

  test.each([['https://audience.test', 'https://audience.test'], [undefined, 'https://127.0.0.1']])('gets an ID token, for %s that is written: %s', async (audience, expected) => {
    const token = await new SignJWT({}).setProtectedHeader({ alg: 'RS256' }).setExpirationTime('1h').sign(privateKey);
    const asked: unknown[] = [];
    const endpoint = await issuing(async (request) => {
      asked.push((await grantOf(request, endpoint))['target_audience']);
      return { body: { id_token: token } };
    });
    const { url } = await world({ type: 'idToken', ...(audience === undefined ? {} : { audience }) }, token, { GOOGLE_APPLICATION_CREDENTIALS: await accountFile(endpoint) });
    await both(url);
    expect(asked).toEqual([expected]);
  });
});

test('a user gets an access token for a refresh token', async () => {
  const endpoint = await issuing(({ form }) => {
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
  const metadata = await issuing(({ method, path: asked, headers }) => {
    expect([method, asked, headers['metadata-flavor']]).toEqual(['GET', path, 'Google']);
    return { body: 'type' in gcp ? token : { access_token: token, expires_in: 3600 } };
  });
  await both((await world(gcp, token, { GCE_METADATA_HOST: new URL(metadata.url).host })).url);
  expect(metadata.seen).toHaveLength(1);
});

describe('an account of somebody else’s (workload identity federation)', () => {
  const AUDIENCE = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q';
  const external = (endpoint: IssuingEndpoint, source: object, more: object = {}): string =>
    JSON.stringify({ type: 'external_account', audience: AUDIENCE, subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', token_url: `${endpoint.url}/sts`, credential_source: source, ...more });
  const subject = (): Promise<string> => new SignJWT({ sub: 'pod' }).setProtectedHeader({ alg: 'RS256' }).setAudience(AUDIENCE).sign(privateKey);

  /** Verifies the token of the pod, and who asks for one of an account. */
  async function federation(more: (request: TokenRequest) => TokenReply | undefined = () => undefined): Promise<IssuingEndpoint> {
    return issuing(async (request) => {
      const answer = more(request);
      if (answer !== undefined) return answer;
      const { path, form, headers, body } = request;
      if (path === '/sts') {
        await jwtVerify(form.get('subject_token') ?? '', publicKey, { audience: AUDIENCE });
        expect(Object.fromEntries(form)).toMatchObject({ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', audience: AUDIENCE, scope: 'https://www.googleapis.com/auth/cloud-platform' });
        return { body: { access_token: 'federated', expires_in: 3600 } };
      }
      if (headers.authorization !== 'Bearer federated') return { status: 401, body: {} };
      expect(headers['content-type']).toBe('application/json');
      if (path === '/v1/sa:generateAccessToken') return { body: { accessToken: 'of-account', expireTime: new Date(Date.now() + 3_600_000).toISOString() } };
      expect([path, JSON.parse(body)]).toEqual(['/v1/sa:generateIdToken', { audience: 'https://a.test', includeEmail: true, delegates: [] }]);
      return { body: { token: 'id-of-account' } };
    });
  }

  test('gets a token for that of a file, as it is now', async () => {
    const endpoint = await federation();
    const file = join(folder, 'subject');
    await writeFile(file, `${await subject()}\n`);
    await both((await world({ credential: '$ACCOUNT' }, 'federated', { ACCOUNT: external(endpoint, { file }) })).url);
    expect(endpoint.seen).toHaveLength(1);
  });

  test('gets one for that of a URL, and with it one of a service account', async () => {
    const token = await subject();
    const endpoint = await federation(({ path, headers }) => (path === '/metadata' ? { body: headers['x-flavor'] === 'ours' ? { a: token } : {} } : undefined));
    const source = { url: `${endpoint.url}/metadata`, headers: { 'x-flavor': 'ours' }, format: { type: 'json', subject_token_field_name: 'a' } };
    const account = external(endpoint, source, { service_account_impersonation_url: `${endpoint.url}/v1/sa:generateAccessToken` });
    await both((await world({ credential: '$ACCOUNT' }, 'of-account', { ACCOUNT: account })).url);
    expect(endpoint.seen.map(({ path }) => path)).toEqual(['/metadata', '/sts', '/v1/sa:generateAccessToken']);
    await both((await world({ type: 'idToken', audience: 'https://a.test', credential: '$ACCOUNT' }, 'id-of-account', { ACCOUNT: account })).url);
  });

  test('that has no token where it should, or is refused, ends the call in words', async () => {
    const endpoint = await federation(({ path }) => (path === '/metadata' ? { body: { planted: 'planted' } } : path === '/sts' ? { status: 400, body: { error: 'invalid_grant', error_description: 'planted' } } : undefined));
    const json = { type: 'json', subject_token_field_name: 'a' };
    const ask = async (source: object) => (await sendModern((await world({ credential: '$ACCOUNT' }, '-', { ACCOUNT: external(endpoint, source) })).url, 'tools/call', { name: 'echo' })).json?.error?.message;
    expect(await ask({ url: `${endpoint.url}/metadata`, format: json })).toBe('files: backendAuth.gcp.credential: credential_source holds no token where it should');
    expect(await ask({ file: join(folder, 'nowhere') })).toBe(`files: backendAuth.gcp.credential: credential_source: the file ${join(folder, 'nowhere')} cannot be read: there is no such file`);
    expect(await ask({ url: `${endpoint.url}/metadata` })).toBe(`files: backendAuth.gcp: the token endpoint at ${endpoint.url} answered HTTP 400 (invalid_grant)`);
  });
});

test('an account gets a token of another that it may speak for', async () => {
  const endpoint = await issuing(({ path, headers, form, body }) => {
    if (path === '/user') return { body: { access_token: `of-${form.get('refresh_token')}`, expires_in: 3600 } };
    expect([path, headers.authorization, JSON.parse(body)]).toEqual(['/v1/sa:generateAccessToken', 'Bearer of-r', { scope: ['https://www.googleapis.com/auth/cloud-platform'], lifetime: '3600s', delegates: ['d'] }]);
    return { body: { accessToken: 'of-other', expireTime: new Date(Date.now() + 3_600_000).toISOString() } };
  });
  const source_credentials = { type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'r', token_uri: `${endpoint.url}/user` };
  const credential = JSON.stringify({ type: 'impersonated_service_account', service_account_impersonation_url: `${endpoint.url}/v1/sa:generateAccessToken`, delegates: ['d'], source_credentials });
  await both((await world({ credential: '$ACCOUNT' }, 'of-other', { ACCOUNT: credential })).url);
  expect(endpoint.seen.map(({ path }) => path)).toEqual(['/user', '/v1/sa:generateAccessToken']);
});

test.each([
  ['no JSON', 'planted'],
  ['an account of another kind', JSON.stringify({ type: 'external_account_authorized_user', planted: 'planted' })],
])('%s is an error in words, and the server is not asked', async (_, credential) => {
  const { url, server } = await world({ credential: '$ACCOUNT' }, '-', { ACCOUNT: credential });
  const { json } = await sendModern(url, 'tools/call', { name: 'echo' });
  expect(json?.error?.message).toBe('files: backendAuth.gcp.credential: expected the JSON of a service_account, an authorized_user, an external_account, an impersonated_service_account or a gdch_service_account');
  expect(server.seen).toEqual([]);
});
