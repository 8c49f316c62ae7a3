/** A plain HTTP backend is asked with every kind of credential, by one gateway; who looks at them verifies what can be. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingHttpHeaders, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Keys, verifySigV4 } from '../fixtures/sigv4.ts';
import { type IssuingEndpoint, type TokenReply, startTokenEndpoint } from '../fixtures/token-endpoint.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';

const TYPE = 'urn:ietf:params:oauth:token-type:';
const AWS = new Map<string, Keys>([['AKIATEST', { secret: 'of-aws' }]]);
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
/** More than one message holds. */
const BODY = 'x'.repeat(300_000);

interface Arrived {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const CLIENT = { clientId: 'c', clientSecret: 'c-secret' };
const bearer = (token: string) => ({ headers }: Arrived): void => expect(headers.authorization).toBe(`Bearer ${token}`);

const KINDS: readonly (readonly [string, (endpoint: string) => object, (arrived: Arrived) => unknown])[] = [
  ['key', () => ({ key: '$A_KEY' }), bearer('of-the-environment')],
  ['credentials', () => ({ credentials: [{ location: { queryParameter: { name: 'k' } }, key: '$A_KEY' }, { location: { cookie: { name: 'k' } }, key: 'written' }] }), ({ url, headers }) => expect([url, headers.cookie]).toEqual(['/credentials?q=1&k=of-the-environment', 'k=written'])],
  ['passthrough', () => ({ passthrough: {} }), bearer('of-the-caller')],
  ['jwtSign', () => ({ jwtSign: { signingKey: '$PEM', alg: 'ES256', claims: { iss: 'us' } } }), ({ headers }) => jwtVerify(String(headers.authorization).replace('Bearer ', ''), publicKey, { issuer: 'us' })],
  ['oauthTokenExchange', (host) => ({ oauthTokenExchange: { host, path: '/exchange', clientAuth: CLIENT } }), bearer('exchanged-of-the-caller')],
  ['crossAppAccess', (host) => ({ crossAppAccess: { identityProvider: { host, path: '/idp', clientAuth: CLIENT }, resourceAuthorizationServer: { host, path: '/as', clientAuth: CLIENT }, audience: 'https://as.test' } }), bearer('granted-assertion-of-the-caller')],
  ['gcp', (host) => ({ gcp: { credential: JSON.stringify({ type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'r', token_uri: `${host}/google` }) } }), bearer('of-google')],
  ['azure', () => ({ azure: { explicitConfig: { clientSecret: { tenant_id: 't', client_id: 'c', client_secret: 's' } } } }), bearer('of-azure')],
  ['aws', () => ({ aws: { accessKeyId: 'AKIATEST', secretAccessKey: 'of-aws', region: 'eu-test-1', serviceName: 'files' } }), (arrived) => expect(verifySigV4(arrived, arrived.body, { keys: AWS, region: 'eu-test-1', service: 'files' })).toBe('good')],
];

const TOKENS: Readonly<Record<string, (form: URLSearchParams) => TokenReply['body']>> = {
  '/exchange': (form) => ({ access_token: `exchanged-${form.get('subject_token')}`, issued_token_type: `${TYPE}access_token`, token_type: 'Bearer' }),
  '/idp': (form) => ({ access_token: `assertion-${form.get('subject_token')}`, issued_token_type: `${TYPE}id-jag`, token_type: 'N_A' }),
  '/as': (form) => ({ access_token: `granted-${form.get('assertion')}`, token_type: 'Bearer' }),
  '/google': () => ({ access_token: 'of-google', expires_in: 3600 }),
  '/t/oauth2/v2.0/token': () => ({ access_token: 'of-azure', expires_in: 3600 }),
};

let server: Server;
let endpoint: IssuingEndpoint;
let parley: ParleyWorld;
let port: number;
const arrived: Arrived[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      arrived.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') });
      response.end('served');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  endpoint = await startTokenEndpoint(({ path, form }) => ({ body: TOKENS[path]?.(form) ?? {} }));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const routes = KINDS.map(([name, auth]) => ({ name, matches: [{ path: { exact: `/${name}` } }], backends: [{ host, policies: { backendAuth: auth(endpoint.url) } }] }));
  port = await freePort();
  const env = { A_KEY: 'of-the-environment', PEM: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), AZURE_AUTHORITY_HOST: `${endpoint.url}/` };
  parley = await startParley({ config: { binds: [{ port, listeners: [{ routes }] }] }, env });
});
afterAll(async () => {
  await parley?.stop();
  await endpoint?.close();
  server?.close();
  server?.closeAllConnections();
});

test.each(KINDS)('with %s', async (name, _, verify) => {
  const { status } = await fetch(`http://127.0.0.1:${port}/${name}?q=1`, { method: 'POST', headers: { authorization: 'Bearer of-the-caller', 'content-type': 'text/plain' }, body: BODY });
  expect(status).toBe(200);
  const [last] = arrived.splice(0) as [Arrived];
  expect(last.body).toBe(BODY);
  await verify(last);
});
