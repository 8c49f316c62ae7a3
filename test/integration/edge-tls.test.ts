import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Agent as UndiciAgent, fetch as undiciFetch } from 'undici';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { type Authority, type Issued, makeAuthority } from '../world/certificates.ts';
import { eventually, startParley } from '../world/parley.ts';
import type { ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { metric, modernOf, send } from '../world/wire.ts';
import type { Headers } from '../world/wire.ts';

const POLL_MS = 8_000;

let everything: Everything;
let parley: ParleyWorld;
let folder: string;
let authority: Authority;
let partners: Authority;
let port: number;
let plainPort: number;

const path = (name: string): string => join(folder, name);

async function save(name: string, { cert, key }: Issued): Promise<void> {
  await Promise.all([writeFile(path(`${name}.key`), key), writeFile(path(`${name}.pem`), cert)]);
}

const filesOf = (name: string) => ({ cert: path(`${name}.pem`), key: path(`${name}.key`) });
const backends = (name: string) => [{ mcp: { targets: [{ name, mcp: { host: everything.url } }], prefixMode: 'always' } }];

/** Three hosts on one port, the second only for clients with a certificate; all hosts of one domain, by an authority of ours; and a gateway without TLS. */
const config = () => ({
  gateways: {
    web: {
      port,
      listeners: [
        { name: 'open', hostname: 'open.example', tls: filesOf('open') },
        { name: 'guarded', hostname: 'guarded.example', protocol: 'HTTPS', tls: { ...filesOf('guarded'), root: path('partners.pem') } },
        { name: 'modern', hostname: '*.modern.example', tls: { ...filesOf('modern'), minTLSVersion: 'TLS_V1_3' } },
        { name: 'minted', hostname: '*.minted.example', tls: { mode: 'dynamicCa', ...filesOf('authority') } },
      ],
    },
    plain: { port: plainPort },
  },
  routes: [
    { name: 'open', gateways: ['web/open'], backends: backends('open') },
    { name: 'guarded', gateways: ['web/guarded'], backends: backends('guarded') },
    { name: 'modern', gateways: ['web/modern'], matches: [{ path: { pathPrefix: '/' }, headers: [{ name: ':scheme', value: { exact: 'https' } }] }], backends: backends('modern') },
    { name: 'minted', gateways: ['web/minted'], backends: backends('minted') },
    { name: 'plain', gateways: ['plain'], backends: backends('plain') },
  ],
});

beforeAll(async () => {
  everything = await startEverything();
  folder = await mkdtemp(join(tmpdir(), 'parley-edge-tls-'));
  authority = makeAuthority();
  partners = makeAuthority('Partners');
  await save('open', authority.issue('open', { dns: ['open.example'] }));
  await save('guarded', authority.issue('guarded', { dns: ['guarded.example'] }));
  await save('modern', authority.issue('modern', { dns: ['*.modern.example'] }));
  await save('authority', { cert: authority.ca, key: authority.key });
  await writeFile(path('partners.pem'), partners.ca);
  [port, plainPort] = [await freePort(), await freePort()];
  parley = await startParley({ config: config(), env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
});
afterAll(async () => {
  await parley.stop();
  await everything.close();
  await rm(folder, { recursive: true, force: true });
});

interface Asked {
  readonly servername?: string;
  /** The name in the handshake unless given. */
  readonly host?: string;
  readonly client?: Issued;
  readonly maxVersion?: 'TLSv1.2';
}

const dialled = ({ servername = 'open.example', client, maxVersion }: Asked): Agent =>
  new Agent({ keepAlive: true, ca: authority.ca, servername, checkServerIdentity: () => undefined, ...client, ...(maxVersion === undefined ? {} : { maxVersion }) });

interface Told {
  readonly status: number | undefined;
  readonly connection: string | undefined;
  /** Resolves when the answer is over. */
  readonly text: Promise<string>;
}

/** Resolves with the head of the answer. */
async function post(at: number, sent: { readonly headers: Headers; readonly body: unknown }, agent: Agent): Promise<Told> {
  const all = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...sent.headers };
  const headers = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
  const asking = request({ host: '127.0.0.1', port: at, path: '/mcp', method: 'POST', headers, agent });
  asking.end(JSON.stringify(sent.body));
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  return { status: response.statusCode, connection: response.headers.connection, text: textOf(response) };
}

/** The first tool, or the status; over a connection of its own unless one is given. */
async function listed(asked: Asked, agent?: Agent): Promise<string | number | undefined> {
  const { servername = 'open.example', host = servername } = asked;
  const own = agent ?? dialled(asked);
  try {
    const { headers, body } = modernOf('tools/list');
    const { status, text } = await post(port, { headers: { ...headers, host }, body }, own);
    const said = await text;
    return status === 200 ? (JSON.parse(said) as { result: { tools: { name: string }[] } }).result.tools[0]?.name : status;
  } finally {
    if (agent === undefined) own.destroy();
  }
}

const codeOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message;
const agentCertificate = (): Issued => partners.issue('agent');

describe('a client', () => {
  test('is served by the listener of the name in its handshake, over HTTP/1.1', async () => {
    expect(await listed({})).toBe('open_cancelled_calls');
    expect(await listed({ servername: 'a.modern.example' })).toBe('modern_cancelled_calls');
    expect(await listed({ servername: 'guarded.example', client: agentCertificate() })).toBe('guarded_cancelled_calls');
  });

  test('is served by a listener with an authority under each name that it covers', async () => {
    const made = () => metric(parley.host.statsUrl, 'parley_certificates_minted_total', { outcome: 'made' });
    expect(await listed({ servername: 'a.minted.example' })).toBe('minted_cancelled_calls');
    expect(await listed({ servername: 'a.minted.example' })).toBe('minted_cancelled_calls');
    expect(await listed({ servername: 'b.minted.example' })).toBe('minted_cancelled_calls');
    expect(await made()).toBe(2);
  });

  test('of MCP opens a session, and calls a tool, as without TLS', async () => {
    const lookup = (_name: string, _options: object, found: (error: null, addresses: { address: string; family: number }[]) => void): void => found(null, [{ address: '127.0.0.1', family: 4 }]);
    const agent = new UndiciAgent({ connect: { ca: authority.ca, lookup } });
    const fetchOver = (url: string | URL, init?: RequestInit): Promise<Response> => undiciFetch(url, { ...init, dispatcher: agent } as object) as unknown as Promise<Response>;
    const client = new Client({ name: 'tls', version: '1' });
    await client.connect(new StreamableHTTPClientTransport(new URL(`https://open.example:${port}/mcp`), { fetch: fetchOver }));
    const { content } = await client.callTool({ name: 'open_echo', arguments: { message: 'over TLS' } });
    expect(content).toEqual([{ type: 'text', text: 'Echo: over TLS' }]);
    await client.close();
    await agent.destroy();
  });

  test.each<[string, Asked]>([
    ['without a certificate', {}],
    ['with one of another authority', { client: makeAuthority('Strangers').issue('agent') }],
  ])('%s is not let in where one is asked for', async (_what, asked) => {
    const failed = () => metric(parley.host.statsUrl, 'parley_tls_handshakes_failed_total', { why: 'refused' });
    const before = await failed();
    await expect(listed({ servername: 'guarded.example', ...asked })).rejects.toThrow();
    await expect.poll(failed, { timeout: POLL_MS }).toBe(before + 1);
  });

  test('of an old version is refused where it is, and served where it may be', async () => {
    await expect(listed({ servername: 'a.modern.example', maxVersion: 'TLSv1.2' })).rejects.toThrow('protocol version');
    expect(await listed({ maxVersion: 'TLSv1.2' })).toBe('open_cancelled_calls');
  });

  test.each<[string, () => Asked, number]>([
    ['no listener has', () => ({ host: 'nobody.example' }), 404],
    ['another listener has', () => ({ host: 'a.modern.example' }), 421],
    ['a listener has that would have asked for a certificate', () => ({ host: 'guarded.example' }), 421],
    ['another listener has, having shown a certificate to its own', () => ({ servername: 'guarded.example', host: 'open.example', client: agentCertificate() }), 421],
  ])('that asks for a host %s is told so', async (_what, asked, status) => {
    expect(await listed(asked())).toBe(status);
  });

  test('that was misdirected has to come back by another connection', async () => {
    const agent = dialled({});
    const { headers, body } = modernOf('tools/list');
    const { status, connection, text } = await post(port, { headers: { ...headers, host: 'guarded.example' }, body }, agent);
    await text;
    expect([status, connection]).toEqual([421, 'close']);
    agent.destroy();
  });
});

describe('certificates', () => {
  const serving = async (servername: string): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port, servername, ca: authority.ca });
    try {
      await once(socket, 'secureConnect');
      return String(socket.getPeerCertificate().subject.CN);
    } finally {
      socket.destroy();
    }
  };

  test('that are replaced on disk are taken up, and a connection that is open goes on', async () => {
    const agent = dialled({});
    expect(await listed({}, agent)).toBe('open_cancelled_calls');
    await save('open', authority.issue('open anew', { dns: ['open.example'] }));
    await eventually('the new certificate', async () => ((await serving('open.example')) === 'open anew' ? true : undefined));
    expect(await listed({}, agent)).toBe('open_cancelled_calls');
    agent.destroy();
  });

  test('that a generation brings are taken up without the port closing; where it now asks for client certificates, old connections are sent away', async () => {
    const agent = dialled({});
    expect(await listed({}, agent)).toBe('open_cancelled_calls');
    await save('third', authority.issue('third', { dns: ['open.example'] }));
    const changed = config();
    const generation = parley.host.generations.current?.id;
    changed.gateways.web.listeners[0]!.tls = { ...filesOf('third'), root: path('partners.pem') };
    await parley.write(changed);
    await parley.generation(({ id }) => id !== generation);
    await eventually('the new certificate', async () => ((await serving('open.example')) === 'third' ? true : undefined));
    expect(await listed({}, agent)).toBe(421);
    await expect(listed({})).rejects.toThrow();
    expect(await listed({ client: agentCertificate() })).toBe('open_cancelled_calls');
    await parley.write(config());
    await parley.generation(({ id }) => id === generation);
    await eventually('the old rules', async () => ((await listed({})) === 'open_cancelled_calls' ? true : undefined));
    agent.destroy();
  });

  test('that are missing keep their port closed until they are there; the other ports serve', async () => {
    const later = await freePort();
    const more = config();
    const generation = parley.host.generations.current?.id;
    await parley.write({ ...more, gateways: { ...more.gateways, later: { port: later, tls: filesOf('later') } } });
    await parley.generation(({ id }) => id !== generation);
    const status = () => post(later, { headers: {}, body: {} }, dialled({})).then((told) => told.status, codeOf);
    expect(await status()).toBe('ECONNREFUSED');
    expect(await listed({})).toBe('open_cancelled_calls');
    await save('later', authority.issue('later', { dns: ['open.example'] }));
    await expect.poll(status, { timeout: POLL_MS }).toBe(404);
    await parley.write(config());
    await parley.generation(({ id }) => id === generation);
  });
});

test('a gateway without tls serves beside them, and is no way around them', async () => {
  const ask = async (host: string): Promise<number> => {
    const { headers, body } = modernOf('tools/list');
    return (await send(`http://127.0.0.1:${plainPort}/mcp`, { headers: { ...headers, host }, body })).status;
  };
  expect([await ask('127.0.0.1'), await ask('guarded.example')]).toEqual([200, 403]);
});

test('an ingress that is stopped answers what was asked over TLS, and takes no more', async () => {
  const own = await freePort();
  const config = { gateways: { default: { port: own, tls: filesOf('open') } }, mcp: { gateways: ['default'], targets: [{ name: 'one', mcp: { host: everything.url } }] } };
  const leaving = await startParley({ config, env: { PARLEY_DRAIN: '10s' } });
  const agent = dialled({});
  // A slow answer begins before it is there: by then the call is under way.
  const { status, text } = await post(own, modernOf('tools/call', { name: 'slow', params: { arguments: { ms: 800 } } }), agent);
  const stopped = leaving.stop();
  expect([status, await text]).toEqual([200, expect.stringContaining('"result"')]);
  await stopped;
  await expect(post(own, modernOf('tools/list'), dialled({}))).rejects.toThrow('ECONNREFUSED');
  agent.destroy();
});
