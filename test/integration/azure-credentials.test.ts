/** Credentials of Microsoft Entra, at a token endpoint and metadata servers that verify what they get. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTokenEndpoint, type IssuingEndpoint } from '../fixtures/token-endpoint.ts';
import { startFilesGateway } from '../world/files-gateway.ts';
import { callModern, openLegacy, sendModern } from '../world/wire.ts';

const SCOPE = 'https://cognitiveservices.azure.com/.default';
const RESOURCE = 'resource=https%3A%2F%2Fcognitiveservices.azure.com';
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

let folder: string;
let entra: IssuingEndpoint;

beforeAll(async () => {
  [folder, entra] = await Promise.all([
    mkdtemp(join(tmpdir(), 'parley-azure-')),
    startTokenEndpoint(({ method }) => ({ body: { access_token: 'at', ...(method === 'POST' ? { expires_in: 3600 } : { expires_on: String(Math.floor(Date.now() / 1000) + 3600) }) } })),
  ]);
  await writeFile(join(folder, 'token'), 'federated\n');
});
afterAll(async () => {
  await Promise.all([entra?.close(), rm(folder, { recursive: true, force: true })]);
});

const world = async (azure: object, env: Record<string, string> = {}): Promise<string> =>
  (await startFilesGateway({ backendAuth: { azure }, env, admits: ({ headers }) => headers.authorization === 'Bearer at' })).url;

const SECRET = { clientSecret: { tenant_id: 'ten ant', client_id: 'c', client_secret: '$A_SECRET' } };

describe('a token of Azure is had', () => {
  const authority = () => ({ AZURE_AUTHORITY_HOST: `${entra.url}/` });
  const workload = () => ({ AZURE_TENANT_ID: 't', AZURE_CLIENT_ID: 'c', AZURE_FEDERATED_TOKEN_FILE: join(folder, 'token') });
  const machine = () => ({ AZURE_POD_IDENTITY_AUTHORITY_HOST: entra.url });

  test.each<[string, object, () => Record<string, string>, string, Record<string, string>]>([
    ['for an application and its secret', { explicitConfig: SECRET }, () => ({ ...authority(), A_SECRET: 's/+' }), '/ten%20ant/oauth2/v2.0/token', { client_id: 'c', client_secret: 's/+' }],
    ['for an application of the environment', { implicit: {} }, () => ({ ...authority(), ...workload(), AZURE_CLIENT_SECRET: 's' }), '/t/oauth2/v2.0/token', { client_id: 'c', client_secret: 's' }],
    ['for a workload', { explicitConfig: { workloadIdentity: {} } }, () => ({ ...authority(), ...workload() }), '/t/oauth2/v2.0/token', { client_id: 'c', client_assertion_type: ASSERTION, client_assertion: 'federated' }],
    ['for a workload of the environment', { implicit: {} }, () => ({ ...authority(), ...workload() }), '/t/oauth2/v2.0/token', { client_id: 'c', client_assertion_type: ASSERTION, client_assertion: 'federated' }],
  ])('%s, once', async (_, azure, env, ...[path, client]) => {
    const from = entra.seen.length;
    const url = await world(azure, env());
    expect(await (await openLegacy(url)).call('echo', { message: 'legacy' })).toBe('legacy');
    expect(await callModern(url, 'echo', { message: 'modern' })).toBe('modern');
    const asked = entra.seen.slice(from).map(({ method, path: at, form }) => [method, at, Object.fromEntries(form)]);
    expect(asked).toEqual([['POST', path, { ...client, grant_type: 'client_credentials', scope: SCOPE }]]);
  });

  test.each<[string, object, () => Record<string, string>, string, [string, string]]>([
    ['the machine', { explicitConfig: { managedIdentity: {} } }, machine, `/metadata/identity/oauth2/token?api-version=2018-02-01&${RESOURCE}`, ['metadata', 'true']],
    ['the machine, where nothing else is known', { implicit: {} }, machine, `/metadata/identity/oauth2/token?api-version=2018-02-01&${RESOURCE}`, ['metadata', 'true']],
    ['one of the identities of the machine', { explicitConfig: { managedIdentity: { userAssignedIdentity: { objectId: 'o' } } } }, machine, `/metadata/identity/oauth2/token?api-version=2018-02-01&${RESOURCE}&object_id=o`, ['metadata', 'true']],
    [
      'one of the identities of an app',
      { explicitConfig: { managedIdentity: { userAssignedIdentity: { resourceId: 'r' } } } },
      () => ({ IDENTITY_ENDPOINT: `${entra.url}/msi/token`, IDENTITY_HEADER: 'h' }),
      `/msi/token?api-version=2019-08-01&${RESOURCE}&mi_res_id=r`,
      ['x-identity-header', 'h'],
    ],
  ])('for %s, once', async (_, azure, env, ...[path, [header, value]]) => {
    const from = entra.seen.length;
    const url = await world(azure, env());
    expect(await callModern(url, 'echo', { message: 'modern' })).toBe('modern');
    expect(entra.seen.slice(from).map(({ method, path: at, headers }) => [method, at, headers[header]])).toEqual([['GET', path, value]]);
  });
});

test('what a workload needs and has not ends the call in words', async () => {
  const url = await world({ explicitConfig: { workloadIdentity: {} } }, { AZURE_TENANT_ID: 't' });
  expect((await sendModern(url, 'tools/call', { name: 'echo' })).json?.error?.message).toBe('files: backendAuth.azure: the environment variable AZURE_CLIENT_ID is not set where the connector runs');
});

describe('a developer', () => {
  /** A program called az, which does this. */
  async function az(script: string): Promise<Record<string, string>> {
    await writeFile(join(folder, 'az'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return { PATH: `${folder}:${process.env['PATH'] ?? ''}` };
  }
  const wordsOf = async (env: Record<string, string>): Promise<string | undefined> => (await sendModern(await world({ developerImplicit: {} }, env), 'tools/call', { name: 'echo' })).json?.error?.message;

  test('is who is logged in with az, asked once', async () => {
    const calls = join(folder, 'calls');
    const url = await world({ developerImplicit: {} }, await az(`echo "$@" >> ${calls}; echo '{"accessToken":"at","expires_on":${Math.floor(Date.now() / 1000) + 3600}}'`));
    expect(await (await openLegacy(url)).call('echo', { message: 'legacy' })).toBe('legacy');
    expect(await callModern(url, 'echo', { message: 'modern' })).toBe('modern');
    expect(await readFile(calls, 'utf8')).toBe('account get-access-token --output json --resource https://cognitiveservices.azure.com\n');
  });

  test('who is not logged in, or has no az, is told so in words', async () => {
    const words = 'files: backendAuth.azure.developerImplicit: the program az gave no token: az login';
    expect(await wordsOf(await az('echo planted >&2; exit 1'))).toBe(words);
    expect(await wordsOf(await az('echo planted'))).toBe(words);
    expect(await wordsOf(await az('head -c 70000 /dev/zero'))).toBe(words);
    expect(await wordsOf({ PATH: '/nowhere' })).toBe('files: backendAuth.azure.developerImplicit: there is no program az (Azure CLI) where the connector runs');
  });
});
