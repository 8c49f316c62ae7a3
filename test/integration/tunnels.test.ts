/** Agents that leave by the gateway as by a proxy: CONNECT, and inside it TLS with a certificate that is made for the host they name. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProxyAgent, fetch as fetchBy } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Everything, startEverything } from '../fixtures/everything/main.ts';
import { makeAuthority } from '../world/certificates.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { metric, modernOf } from '../world/wire.ts';

const authority = makeAuthority('Egress authority');

let folder: string;
let everything: Everything;
let parley: ParleyWorld;
let port: number;
const agents: ProxyAgent[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-tunnels-'));
  const [cert, key] = [join(folder, 'ca.pem'), join(folder, 'ca.key')];
  await Promise.all([writeFile(cert, authority.ca), writeFile(key, authority.key)]);
  [everything, port] = await Promise.all([startEverything(), freePort()]);
  const tools = {
    hostnames: ['tools.example'],
    policies: { authorization: { rules: ['source.connectHeaders["x-agent"] == "seven" && destination.port == 443'] } },
    backends: [{ mcp: { targets: [{ name: 'tools', mcp: { host: everything.url } }] } }],
  };
  parley = await startParley({
    config: {
      binds: [
        { port, tunnelProtocol: 'connect', listeners: [] },
        { port: 443, mode: 'internal', listeners: [{ protocol: 'HTTPS', tls: { mode: 'dynamicCa', cert, key }, routes: [tools] }] },
      ],
    },
    env: { PARLEY_STATS_ADDR: '127.0.0.1:0' },
  });
});
afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  await parley?.stop();
  await everything?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A client that trusts the authority of the gateway and nobody else. */
function agentOf(headers: Readonly<Record<string, string>>): ProxyAgent {
  const agent = new ProxyAgent({ uri: `http://127.0.0.1:${port}`, requestTls: { ca: [authority.ca] }, headers: { ...headers } });
  agents.push(agent);
  return agent;
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

  test('is told that nothing is there where nothing is', async () => {
    await expect(list('https://tools.example:8443/mcp', agentOf({}))).rejects.toMatchObject({ cause: { cause: { message: expect.stringContaining('404') } } });
    expect(await metric(parley.host.statsUrl, 'parley_tunnels_total', { outcome: 'nobody' })).toBe(1);
  });
});
