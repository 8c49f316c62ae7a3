/** Agents that leave by the gateway as by a proxy: CONNECT, and inside it TLS with a certificate that is made for the host they name. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProxyAgent, fetch as fetchBy } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Everything, startEverything } from '../fixtures/everything/main.ts';
import { type HttpBackendFixture, startHttpBackend } from '../fixtures/http-backend.ts';
import { makeAuthority } from '../world/certificates.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { dial, metric, modernOf } from '../world/wire.ts';

const authority = makeAuthority('Egress authority');

let folder: string;
let everything: Everything;
let parley: ParleyWorld;
let port: number;
let proxyPort: number;
let serverPort: number;
let server: HttpBackendFixture;
const agents: ProxyAgent[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-tunnels-'));
  const [cert, key] = [join(folder, 'ca.pem'), join(folder, 'ca.key')];
  await Promise.all([writeFile(cert, authority.ca), writeFile(key, authority.key)]);
  [everything, port, proxyPort] = await Promise.all([startEverything(), freePort(), freePort()]);
  const tools = {
    hostnames: ['tools.example'],
    policies: { authorization: { rules: ['source.connectHeaders["x-agent"] == "seven" && destination.port == 443'] } },
    backends: [{ mcp: { targets: [{ name: 'tools', mcp: { host: everything.url } }] } }],
  };
  const { port: fixed } = new URL(`http://${(await startServer()).host}`);
  serverPort = Number(fixed);
  const marked = {
    hostnames: ['localhost'],
    policies: { transformations: { request: { set: { 'x-by': '"gateway"' } }, response: { set: { 'x-back-by': '"gateway"' } } } },
    backends: [{ dynamic: {}, policies: { backendTLS: { root: join(folder, 'servers.pem') } } }],
  };
  const unnamed = { backends: [{ dynamic: {} }] };
  parley = await startParley({
    config: {
      binds: [
        { port, tunnelProtocol: 'connect', listeners: [] },
        { port: 443, mode: 'internal', listeners: [{ protocol: 'HTTPS', tls: { mode: 'dynamicCa', cert, key }, routes: [tools] }] },
        { port: serverPort, mode: 'internal', listeners: [{ protocol: 'HTTPS', tls: { mode: 'dynamicCa', cert, key }, routes: [marked] }] },
        { port: proxyPort, listeners: [{ routes: [unnamed] }] },
      ],
    },
    env: { PARLEY_STATS_ADDR: '127.0.0.1:0', PARLEY_DYNAMIC_NETWORKS: '127.0.0.1,::1' },
  });
});
afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  await parley?.stop();
  await everything?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A server of the Internet, with a certificate of an authority that is not ours. */
async function startServer(): Promise<HttpBackendFixture> {
  const others = makeAuthority('Authority of servers');
  await writeFile(join(folder, 'servers.pem'), others.ca);
  return (server = await startHttpBackend({}, { tls: others.issue('server', { dns: ['localhost'] }) }));
}

/** A client that trusts the authority of the gateway and nobody else. */
function agentOf(headers: Readonly<Record<string, string>>): ProxyAgent {
  const agent = new ProxyAgent({ uri: `http://127.0.0.1:${port}`, requestTls: { ca: [authority.ca] }, headers: { ...headers } });
  agents.push(agent);
  return agent;
}

async function seen(url: string, dispatcher: ProxyAgent): Promise<{ readonly status: number; readonly back: string | null; readonly headers: Readonly<Record<string, string>> }> {
  const response = await fetchBy(url, { dispatcher });
  const text = await response.text();
  return { status: response.status, back: response.headers.get('x-back-by'), headers: response.status === 200 ? (JSON.parse(text) as { headers: Record<string, string> }).headers : {} };
}

async function list(url: string, agent: ProxyAgent): Promise<number> {
  const { headers, body } = modernOf('tools/list');
  const response = await fetchBy(url, { method: 'POST', dispatcher: agent, headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...(headers as Record<string, string>) }, body: JSON.stringify(body) });
  await response.text();
  return response.status;
}

describe('a client that uses the gateway as its proxy', () => {
  test('is served by the route of the host it names, over TLS that the gateway ends, if its tunnel says who it is', async () => {
    expect(await list('https://tools.example/mcp', agentOf({ 'x-agent': 'seven' }))).toBe(200);
    expect(await list('https://tools.example/mcp', agentOf({ 'x-agent': 'eight' }))).toBe(403);
    expect(await list('https://tools.example/mcp', agentOf({}))).toBe(403);
    expect(await list('https://elsewhere.example/mcp', agentOf({ 'x-agent': 'seven' }))).toBe(404);
    expect(await metric(parley.host.statsUrl, 'parley_tunnels_total', { outcome: 'opened' })).toBe(4);
  });

  test('reaches the host it names, by TLS at both ends, with what the gateway adds on the way and on the way back', async () => {
    const { status, back, headers } = await seen(`https://localhost:${serverPort}/seen`, agentOf({ 'proxy-authorization': 'Basic eDp5' }));
    expect([status, back]).toEqual([200, 'gateway']);
    expect(headers).toMatchObject({ host: `localhost:${serverPort}`, 'x-by': 'gateway', via: expect.stringMatching(/^1\.1 parley-[0-9a-f]{8}$/) });
    expect(headers).not.toHaveProperty('proxy-authorization');
  });

  test('is told that nothing is there where nothing is', async () => {
    await expect(list('https://tools.example:8443/mcp', agentOf({}))).rejects.toMatchObject({ cause: { cause: { message: expect.stringContaining('404') } } });
    expect(await metric(parley.host.statsUrl, 'parley_tunnels_total', { outcome: 'nobody' })).toBe(1);
  });
});

describe('a route to whichever host a request is for', () => {
  /** As a client does that was told of a proxy for plain HTTP. */
  const asked = async (target: string): Promise<string> => {
    const proxy = await dial(`http://127.0.0.1:${proxyPort}`);
    proxy.socket.write(`GET ${target} HTTP/1.1\r\nhost: elsewhere.example\r\nconnection: close\r\n\r\n`);
    const [line = ''] = (await proxy.read('\r\n\r\n')).split('\r\n');
    proxy.socket.destroy();
    return line;
  };

  test('takes the whole URL of a request line, and its host counts', async () => {
    const plain = await startHttpBackend();
    expect(await asked(`http://${plain.host}/seen`)).toBe('HTTP/1.1 200 OK');
    await plain.close();
  });

  test('leads to no address that credentials are served at', async () => {
    expect(await asked('http://169.254.169.254/latest/meta-data')).toBe('HTTP/1.1 403 Forbidden');
  });

  test('ends a request that leads back to the gateway at the second turn', async () => {
    expect(await asked(`http://127.0.0.1:${proxyPort}/`)).toBe('HTTP/1.1 508 Loop Detected');
  });
});
