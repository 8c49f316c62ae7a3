/** A gateway that is one workload of many: its clients and whom it asks show SVIDs of one trust domain, or of one that is federated with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { type ServerOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type MisbehavingHttp, startMisbehaving } from '../fixtures/misbehaving/http.ts';
import { type IssuingEndpoint, startTokenEndpoint } from '../fixtures/token-endpoint.ts';
import { makeAuthority } from '../world/certificates.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type WorkloadApi, startWorkloadApi, svidOf } from '../world/workload-api.ts';
import { initializeOf, sendModern } from '../world/wire.ts';

const authority = makeAuthority();
const partner = makeAuthority('partner');
const PARTNER = 'spiffe://partner.test/server';
const [GATEWAY, SERVER, AGENT, OTHER] = ['gateway', 'server', 'agent', 'other'].map((name) => `spiffe://td.test/${name}`) as [string, string, string, string];
const shown = (id: string, by = authority): ServerOptions => ({ ...by.issue('server', { uris: [id] }), ca: authority.ca, requestCert: true, rejectUnauthorized: true });
const servedAs = (id: string, by = authority): Promise<MisbehavingHttp> => startMisbehaving({ tls: shown(id, by) });

let folder: string;
let agent: WorkloadApi;
let servers: readonly [MisbehavingHttp, MisbehavingHttp, MisbehavingHttp, MisbehavingHttp];
let tokens: IssuingEndpoint;
let parley: ParleyWorld;

const targetOf = (name: string, url: string, tls: object = {}, more: object = {}): object => ({ name, mcp: { targets: [{ name, mcp: { host: url }, policies: { backendTLS: { spiffe: {}, ...tls }, ...more } }] } });

function configOf(port: number, listener: object): Record<string, unknown> {
  const [member, foreign, federated, feigned] = servers;
  const exchange = { oauthTokenExchange: { host: tokens.url, policies: { backendTLS: { spiffe: {}, subjectAltNames: [SERVER] } } } };
  const backends = [
    targetOf('federated', federated.url, { subjectAltNames: [PARTNER] }), targetOf('unnamed', federated.url), targetOf('feigned', feigned.url, { subjectAltNames: [PARTNER] }),
    targetOf('stranger', foreign.url, { subjectAltNames: ['spiffe://elsewhere.test/server'] }), targetOf('exchanged', member.url, {}, { backendAuth: exchange }),
    targetOf('any', member.url), targetOf('pinned', member.url, { subjectAltNames: [SERVER] }), targetOf('mispinned', member.url, { subjectAltNames: [OTHER] }), targetOf('foreign', foreign.url),
  ];
  const routes = (backends as { name: string }[]).map(({ name }) => ({ name, matches: [{ path: { exact: `/${name}` } }], backends: [{ backend: name }], policies: { authorization: { rules: [`request.path != "/pinned" || source.spiffeId == "${AGENT}"`] } } }));
  return { backends, binds: [{ port, listeners: [{ routes, ...listener }] }] };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-spiffe-'));
  [agent, servers, tokens] = await Promise.all([
    startWorkloadApi(join(folder, 'agent.sock'), svidOf(authority, GATEWAY)),
    Promise.all([servedAs(SERVER), servedAs('spiffe://elsewhere.test/server'), servedAs(PARTNER, partner), servedAs(PARTNER)]),
    startTokenEndpoint(() => ({ body: { access_token: 'issued', token_type: 'Bearer', issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' } }), shown(SERVER)),
  ]);
  agent.federate({ 'partner.test': partner });
  parley = await startParley({ config: { config: { spiffe: { endpoint: agent.endpoint } }, ...configOf(await freePort(), { tls: { spiffe: {} } }) } });
});
afterAll(async () => {
  await parley?.stop();
  await Promise.all([agent?.stop(), tokens?.close(), ...(servers ?? []).map((server) => server.close())]);
  await rm(folder, { recursive: true, force: true });
});

/** What comes of a legacy session that a workload opens. */
function asWorkload(id: string, path: string): Promise<{ readonly status: number; readonly text: string }> {
  const { cert, key } = authority.issue('client', { uris: [id] });
  const url = new URL(path, parley.url.replace('http:', 'https:'));
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', cert, key, ca: authority.ca, agent: false, checkServerIdentity: () => undefined, headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', authorization: 'Bearer of-the-caller' } }, (response) => {
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

test('a server of a federated trust domain is asked where its name is pinned, as its own authorities know it', async () => {
  expect(await asWorkload(AGENT, '/federated')).toMatchObject({ status: 200 });
  for (const path of ['/unnamed', '/feigned']) expect((await asWorkload(AGENT, path)).text).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN/);
  expect((await asWorkload(AGENT, '/stranger')).text).toContain('gave no authorities of the trust domain elsewhere.test: is it federated with td.test?');
});

test('a token endpoint is asked as a workload, too', async () => {
  expect(await asWorkload(AGENT, '/exchanged')).toMatchObject({ status: 200 });
  expect(servers[0].seen.at(-1)?.headers.authorization).toBe('Bearer issued');
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
