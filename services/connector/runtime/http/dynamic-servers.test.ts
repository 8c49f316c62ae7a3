import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { HttpBackend } from '#protocol/config/generation.ts';
import { type Network, networkOf } from './dialable.ts';
import { Dialing } from './dialing.ts';
import { DynamicServers } from './dynamic-servers.ts';

const config: HttpBackend = { kind: 'http', key: 'd', name: 'dynamic', endpoints: [], dynamic: {}, policies: {}, timeoutMs: undefined };
const LOOPBACK = ['127.0.0.0/8', '::1'].map((text) => networkOf(text) as Network);

let server: Server;
let port: number;
let hosts: (string | undefined)[];
const open: DynamicServers[] = [];

beforeAll(async () => {
  server = createServer(({ headers }, response) => {
    hosts.push(headers.host);
    response.end('here');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});
afterEach(() => Promise.all(open.splice(0).map((servers) => servers.close())));
afterAll(() => void server.close());

function serversOf(networks: readonly Network[], originsMax?: number): DynamicServers {
  hosts = [];
  const servers = new DynamicServers(config, { dialing: new Dialing(networks) }, originsMax);
  open.push(servers);
  return servers;
}

async function ask(servers: DynamicServers, authority: string): Promise<string> {
  const { pool, origin } = servers.serverFor(authority);
  const { body } = await pool.request({ origin, path: '/', method: 'GET', headers: { host: authority } });
  return body.text();
}

describe('a server that a caller names', () => {
  test('is connected to by its address or its name where the operator lets it', async () => {
    const servers = serversOf(LOOPBACK);
    expect(await Promise.all([ask(servers, `127.0.0.1:${port}`), ask(servers, `localhost:${port}`)])).toEqual(['here', 'here']);
    expect(new Set(hosts)).toEqual(new Set([`127.0.0.1:${port}`, `localhost:${port}`]));
  });

  test.each(['127.0.0.1', 'localhost', '127.1', '2130706433', '[::1]', '[::ffff:127.0.0.1]', '169.254.169.254', '0.0.0.0'])('is not connected to at %s', async (host) => {
    await expect(ask(serversOf([]), `${host}:${port}`)).rejects.toMatchObject({ code: 'denied', message: expect.stringContaining('is not connected to from here') });
    expect(hosts).toEqual([]);
  });

  test('may be one of as many as the limit; one past it has to wait until another is not asked any more', async () => {
    const servers = serversOf(LOOPBACK, 2);
    await Promise.all([ask(servers, `127.0.0.1:${port}`), ask(servers, `127.0.0.2:${port}`).catch(() => undefined), ask(servers, `localhost:${port}`).catch((error: unknown) => hosts.push((error as { code: string }).code))]);
    expect(hosts).toContain('UND_ERR_MAX_ORIGINS_REACHED');
  });
});
