/** Servers that are asked on the gateway's own behalf, as the configuration says that they are reached: authorizers, and token endpoints. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startTokenEndpoint, type IssuingEndpoint } from '../fixtures/token-endpoint.ts';
import { type GrpcAuthorizer, type HttpAuthorizer, startGrpcAuthorizer, startHttpAuthorizer } from '../world/authorizer.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type Proxy, startProxy } from '../world/proxy.ts';
import { sendModern } from '../world/wire.ts';

const KEY = 'planted-key-of-the-gateway';
const PROXY_KEY = Buffer.from('gateway:planted').toString('base64');

let server: MisbehavingHttp;
let overHttp: HttpAuthorizer;
let overGrpc: GrpcAuthorizer;
let bySocket: GrpcAuthorizer;
let folder: string;
let endpoint: IssuingEndpoint;
let proxy: Proxy;
let parley: ParleyWorld;
let dead: string;
let port: number;
/** What the proxy answers. */
let connects = 200;

const key = { key: '$GATEWAY_KEY' };
const tunnel = () => ({ proxy: { host: proxy.host }, policies: { backendAuth: { key: { value: '$PROXY_KEY', location: { header: { name: 'proxy-authorization', prefix: 'Basic ' } } } } } });
const http = (more: object): object => ({ extAuthz: { host: overHttp.host, protocol: { http: {} }, ...more } });
const grpc = (more: object): object => ({ extAuthz: { host: overGrpc.host, ...more } });
const exchange = (more: object): object => ({ backendAuth: { oauthTokenExchange: { host: endpoint.url, path: '/token', ...more } } });

function config(): Readonly<Record<string, unknown>> {
  const route = (name: string, policies: object, target: object = {}): object => ({ name, matches: [{ path: { exact: `/${name}` } }], policies, backends: [{ mcp: { targets: [{ name: 'one', mcp: { host: server.url }, policies: target }] } }] });
  const workload = (host: string): object => ({ namespace: 'ns', workloadIps: ['127.0.0.1'], services: { 'ns/judge': { 80: Number(host.split(':')[1]) } } });
  const service = { host: undefined, service: { name: 'ns/judge', port: 80 } };
  const headers = { requestHeaderModifier: { set: { 'x-gateway': 'parley' }, remove: ['authorization'] } };
  return {
    services: [{ name: 'judge', namespace: 'ns', hostname: 'judge', ports: { 80: 80 } }],
    workloads: [dead, overHttp.host].map(workload),
    backends: [{ name: 'judge', host: overHttp.host, policies: { backendAuth: key } }],
    gateways: { default: { port } },
    routes: [
      route('key', http({ policies: { backendAuth: key } })),
      route('backend', http({ host: undefined, backend: 'judge' })),
      route('headers', http({ policies: headers })),
      route('service', http(service)),
      route('service-key', http({ ...service, policies: { backendAuth: key } })),
      route('tunnel', http({ policies: { backendTunnel: tunnel() } })),
      route('grpc-key', grpc({ policies: { backendAuth: { credentials: [{ location: { header: { name: 'x-key' } }, key: '$GATEWAY_KEY' }] }, requestHeaderModifier: { set: { 'x-gateway': 'parley' } } } })),
      route('grpc-socket', grpc({ host: bySocket.host })),
      route('grpc-tunnel', grpc({ policies: { backendTunnel: tunnel() } })),
      route('target', {}, { backendTunnel: tunnel() }),
      { ...route('host', {}), backends: [{ host: endpoint.url, policies: { backendTunnel: tunnel() } }] },
      route('token', {}, exchange({ policies: { ...headers, backendAuth: key, backendTunnel: tunnel() } })),
    ],
  };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-callouts-'));
  [server, overHttp, overGrpc, bySocket, endpoint, proxy, dead, port] = await Promise.all([
    startMisbehaving(),
    startHttpAuthorizer((_, response) => void response.end()),
    startGrpcAuthorizer(() => ({ status: { code: 0 } })),
    startGrpcAuthorizer(() => ({ status: { code: 0 } }), `unix:${join(folder, 'judge.sock')}`),
    startTokenEndpoint(({ form }) => ({ body: { access_token: `exchanged-${form.get('subject_token')}`, token_type: 'Bearer' } })),
    startProxy(() => connects),
    freePort().then((free) => `127.0.0.1:${free}`),
    freePort(),
  ]);
  parley = await startParley({ config: config(), env: { GATEWAY_KEY: KEY, PROXY_KEY } });
});
afterEach(() => {
  connects = 200;
  for (const { seen } of [overHttp, overGrpc, bySocket, endpoint]) (seen as unknown[]).splice(0);
});
afterAll(async () => {
  await parley?.stop();
  await Promise.all([server, overHttp, overGrpc, bySocket, endpoint, proxy].map((one) => one?.close()));
  await rm(folder, { recursive: true, force: true });
});

const call = async (path: string, token = 't'): Promise<number> =>
  (await sendModern(new URL(path, parley.url).href, 'tools/call', { name: 'echo', headers: { authorization: `Bearer ${token}` }, params: { arguments: { message: 'm' } } })).status;

describe('an authorizer', () => {
  test.each(['/key', '/backend', '/service-key'])('is shown who asks, in the place of what the caller showed: %s', async (path) => {
    expect(await call(path)).toBe(200);
    expect(overHttp.seen.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${KEY}`]);
  });

  test('by gRPC is shown who asks, and told what else it is to know', async () => {
    expect(await call('/grpc-key')).toBe(200);
    expect(overGrpc.seen.map(({ request }) => request.http.headers['authorization'])).toEqual(['Bearer t']);
    expect(overGrpc.told.map((headers) => [headers['x-key'], headers['x-gateway']])).toEqual([[KEY, 'parley']]);
  });

  test('is asked at a socket of this machine', async () => {
    expect(await call('/grpc-socket')).toBe(200);
    expect(bySocket.seen).toHaveLength(1);
  });

  test('is sent the headers that are changed for it', async () => {
    expect(await call('/headers')).toBe(200);
    expect(overHttp.seen.map(({ headers }) => [headers['x-gateway'], headers.authorization])).toEqual([['parley', undefined]]);
  });

  test('that is a service is asked at one of its workloads that can be reached', async () => {
    for (let times = 0; times < 8; times += 1) expect(await call('/service')).toBe(200);
    expect(overHttp.seen).toHaveLength(8);
  });

  test.each(['/tunnel', '/grpc-tunnel'])('is reached by way of a proxy, which is told who asks: %s', async (path) => {
    const { host } = path === '/tunnel' ? overHttp : overGrpc;
    expect(await call(path)).toBe(200);
    expect(proxy.seen).toContainEqual({ authority: host, authorization: `Basic ${PROXY_KEY}` });
  });

  test('whose proxy does not connect gives no answer', async () => {
    connects = 407;
    overHttp.drop();
    expect(await call('/tunnel')).toBe(403);
  });
});

test.each(['/target', '/host'])('a server is reached by way of a proxy, which is told who asks: %s', async (path) => {
  expect(await call(path)).toBe(200);
  // Connections are kept: some were made when the gateway looked at its targets.
  expect(proxy.seen).toContainEqual({ authority: path === '/host' ? new URL(endpoint.url).host : new URL(server.url).host, authorization: `Basic ${PROXY_KEY}` });
});

test('a token endpoint is reached as it is written: by way of a proxy, with headers and who asks', async () => {
  expect(await call('/token', 'ann')).toBe(200);
  expect(endpoint.seen.map(({ path, headers }) => [path, headers['x-gateway'], headers.authorization])).toEqual([['/token', 'parley', `Bearer ${KEY}`]]);
  expect(proxy.seen).toContainEqual({ authority: new URL(endpoint.url).host, authorization: `Basic ${PROXY_KEY}` });
  expect(server.seen.at(-1)?.headers.authorization).toBe('Bearer exchanged-ann');
});
