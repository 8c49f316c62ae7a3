/** A gateway that is one workload of many: its clients and its servers show SVIDs of one trust domain. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type MisbehavingHttp, startMisbehaving } from '../fixtures/misbehaving/http.ts';
import { makeAuthority } from '../world/certificates.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type WorkloadApi, startWorkloadApi, svidOf } from '../world/workload-api.ts';
import { initializeOf, sendModern } from '../world/wire.ts';

const authority = makeAuthority();
const [GATEWAY, SERVER, AGENT, OTHER] = ['gateway', 'server', 'agent', 'other'].map((name) => `spiffe://td.test/${name}`) as [string, string, string, string];
const servedAs = (id: string): Promise<MisbehavingHttp> =>
  startMisbehaving({ tls: { ...authority.issue('server', { uris: [id] }), ca: authority.ca, requestCert: true, rejectUnauthorized: true } as object });

let folder: string;
let agent: WorkloadApi;
let servers: readonly [MisbehavingHttp, MisbehavingHttp];
let parley: ParleyWorld;

const targetOf = (name: string, url: string, tls: object = {}): object => ({ name, mcp: { targets: [{ name, mcp: { host: url }, policies: { backendTLS: { spiffe: {}, ...tls } } }] } });

function configOf(port: number, listener: object): Record<string, unknown> {
  const [member, foreign] = servers;
  const backends = [targetOf('any', member.url), targetOf('pinned', member.url, { subjectAltNames: [SERVER] }), targetOf('mispinned', member.url, { subjectAltNames: [OTHER] }), targetOf('foreign', foreign.url)];
  const routes = ['any', 'pinned', 'mispinned', 'foreign'].map((name) => ({ name, matches: [{ path: { exact: `/${name}` } }], backends: [{ backend: name }], policies: { authorization: { rules: [`request.path != "/pinned" || source.spiffeId == "${AGENT}"`] } } }));
  return { backends, binds: [{ port, listeners: [{ routes, ...listener }] }] };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-spiffe-'));
  [agent, servers] = await Promise.all([startWorkloadApi(join(folder, 'agent.sock'), svidOf(authority, GATEWAY)), Promise.all([servedAs(SERVER), servedAs('spiffe://elsewhere.test/server')])]);
  parley = await startParley({ config: { config: { spiffe: { endpoint: agent.endpoint } }, ...configOf(await freePort(), { tls: { spiffe: {} } }) } });
});
afterAll(async () => {
  await parley?.stop();
  await Promise.all([agent?.stop(), ...(servers ?? []).map((server) => server.close())]);
  await rm(folder, { recursive: true, force: true });
});

/** What comes of a legacy session that a workload opens. */
function asWorkload(id: string, path: string): Promise<{ readonly status: number; readonly text: string }> {
  const { cert, key } = authority.issue('client', { uris: [id] });
  const url = new URL(path, parley.url.replace('http:', 'https:'));
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', cert, key, ca: authority.ca, agent: false, checkServerIdentity: () => undefined, headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end(JSON.stringify(initializeOf('2025-06-18')));
  });
}

test('workloads of the trust domain reach servers of it; rules know them by their SPIFFE ids', async () => {
  expect(await asWorkload(AGENT, '/any')).toMatchObject({ status: 200, text: expect.stringContaining('serverInfo') as string });
  expect(await asWorkload(AGENT, '/pinned')).toMatchObject({ status: 200 });
  expect(await asWorkload(OTHER, '/any')).toMatchObject({ status: 200 });
  expect(await asWorkload(OTHER, '/pinned')).toMatchObject({ status: 403 });
  await expect(asWorkload('spiffe://elsewhere.test/agent', '/any')).rejects.toThrow();
});

test('a server that is another than the pinned one, or of another trust domain, is not asked', async () => {
  for (const path of ['/mispinned', '/foreign']) expect((await asWorkload(AGENT, path)).text).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
});

test('without an agent no server is asked, and the caller hears why', async () => {
  const lonely = await startParley({ config: configOf(await freePort(), {}), env: { SPIFFE_ENDPOINT_SOCKET: `unix://${join(folder, 'nobody.sock')}` } });
  try {
    const { json } = await sendModern(new URL('/any', lonely.url).href, 'tools/call', { name: 'echo' });
    expect(json?.error?.message).toMatch(/^any: backendTLS\.spiffe: the SPIFFE Workload API at .*nobody\.sock gives nothing: UNAVAILABLE$/);
  } finally {
    await lonely.stop();
  }
});
