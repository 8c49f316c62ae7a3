import { once } from 'node:events';
import type { Server } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, type TLSSocket, connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Svids } from '#host/spiffe/svids.ts';
import { createLog } from '#host/telemetry/log.ts';
import type { Listener } from '#protocol/config/generation.ts';
import { makeAuthority } from '../../../../test/world/certificates.ts';
import { type WorkloadApi, startWorkloadApi, svidOf } from '../../../../test/world/workload-api.ts';
import { createHttpServer } from '../edge/http-edge.ts';
import { stopHttpServer } from './server-life.ts';
import { TlsPort } from './tls-port.ts';

const ID = 'spiffe://td.test/gateway';
const authority = makeAuthority();
const stranger = makeAuthority('Strangers');
const listener: Listener = {
  name: 'any', hostname: undefined, policies: {}, routes: [],
  tls: { at: 'gateways.g.tls', cert: '', key: '', root: undefined, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', cipherSuites: [], keyExchangeGroups: [], spiffe: true },
};
const peer = (uri = 'spiffe://td.test/agent', of = authority): ConnectionOptions => of.issue('peer', { uris: [uri] });

let folder: string;
let agent: WorkloadApi;
let svids: Svids;
let port: TlsPort;
let server: Server;
let aheadMs: number;
let failures: string[];
let lines: string[];
const open: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-spiffe-'));
  agent = await startWorkloadApi(join(folder, 'agent.sock'), svidOf(authority, ID));
  [aheadMs, failures, lines] = [0, [], []];
  const log = createLog({ level: 'info', format: 'json', sink: { write: (line: string) => void lines.push(line) } });
  svids = new Svids({ log, now: () => Date.now() + aheadMs, updates: { add: () => undefined } });
  port = new TlsPort({ log, failed: (why) => failures.push(why), svids });
  server = createHttpServer((request, response) => response.send(200, {}, JSON.stringify(request.source.tls?.spiffeId)), { secure: port.secure });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  svids.close();
  await Promise.all([agent.stop(), stopHttpServer(server, 0)]);
  await rm(folder, { recursive: true, force: true });
});

async function follow(endpoint = agent.endpoint): Promise<void> {
  svids.follow(endpoint);
  await port.follow([listener]);
}

async function shake(options: ConnectionOptions): Promise<TLSSocket> {
  const { port: number } = server.address() as AddressInfo;
  const socket = connect({ host: '127.0.0.1', port: number, ca: [authority.ca], checkServerIdentity: () => undefined, ...options });
  open.push(socket);
  const ready = once(socket, 'secureConnect');
  socket.on('error', () => undefined);
  await ready;
  return socket;
}

/** The body of the answer; '' when the connection is closed instead. */
async function ask(socket: TLSSocket): Promise<string> {
  let heard = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
  socket.write('GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n');
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return heard.split('\r\n\r\n')[1] ?? '';
}

const asked = (options: ConnectionOptions): Promise<string> => shake(options).then(ask, () => '');

describe('a listener with spiffe', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('shows its SVID and knows who of its trust domain is there, over %s', async (maxVersion) => {
    await follow();
    const socket = await shake({ ...peer(), maxVersion });
    expect(socket.getPeerCertificate().subjectaltname).toBe(`URI:${ID}`);
    expect(await ask(socket)).toBe('"spiffe://td.test/agent"');
    expect(port.files).toEqual([]);
  });

  test.each<[string, () => ConnectionOptions]>([
    ['no certificate', () => ({})],
    ['one of another authority', () => peer('spiffe://td.test/agent', stranger)],
    ['one of another trust domain', () => peer('spiffe://elsewhere.test/agent')],
    ['one that is no SVID', () => authority.issue('peer', { dns: ['td.test'] })],
    ['one with two ids', () => authority.issue('peer', { uris: ['spiffe://td.test/agent', 'spiffe://elsewhere.test/agent'] })],
    ['one that has ended', () => authority.issue('peer', { uris: ['spiffe://td.test/agent'] }, -1_000)],
  ])('refuses who shows %s', async (_what, options) => {
    await follow();
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) expect(await asked({ ...options(), maxVersion })).toBe('');
    expect(failures).toEqual(['refused', 'refused']);
    expect(await asked(peer())).toBe('"spiffe://td.test/agent"');
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)('resumes no session, which would outlive the SVID of its client, over %s', async (maxVersion) => {
    await follow();
    const options = { ...peer(), maxVersion };
    const first = await shake(options);
    const sessions: Buffer[] = [];
    first.on('session', (given: Buffer) => sessions.push(given));
    expect(await ask(first)).not.toBe('');
    const [session = first.getSession()] = sessions;
    const second = await shake({ ...options, session });
    expect(second.isSessionReused()).toBe(false);
    expect(await ask(second)).not.toBe('');
  });

  test('goes on with a new SVID and new authorities when they come', async () => {
    await follow();
    const rotated = new Promise<void>((resolve) => svids.onChange(() => resolve()));
    agent.give(svidOf(stranger, ID));
    await rotated;
    await port.reload();
    expect(await asked(peer())).toBe('');
    expect(await asked({ ...peer('spiffe://td.test/new', stranger), ca: [stranger.ca] })).toBe('"spiffe://td.test/new"');
  });

  test('serves while the agent is away, until its SVID ends', async () => {
    await follow();
    const away = new Promise<void>((resolve) => svids.onChange(() => resolve()));
    await agent.stop();
    await away;
    await port.reload();
    expect(await asked(peer())).not.toBe('');
    aheadMs = 25 * 3600_000;
    expect(await asked(peer())).toBe('');
    expect(failures).toEqual(['unready']);
  });

  test('is not usable without an agent, and says why', async () => {
    await follow(`unix://${join(folder, 'nobody.sock')}`);
    expect(port.usable).toBe(false);
    expect(await asked(peer())).toBe('');
    expect(failures).toEqual(['unready']);
    expect(lines.join('')).toMatch(/gateways\.g\.tls\.spiffe: the SPIFFE Workload API at unix:.*nobody\.sock gives nothing: UNAVAILABLE .*this listener cannot serve until it is put right/);
  });
});
