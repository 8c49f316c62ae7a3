import { once } from 'node:events';
import type { Server } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, type TLSSocket, connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '#host/telemetry/log.ts';
import type { Listener, ListenerTls } from '#protocol/config/generation.ts';
import { makeAuthority } from '../../../../test/world/certificates.ts';
import { createHttpServer } from '../edge/http-edge.ts';
import { stopHttpServer } from './server-life.ts';
import { TlsPort } from './tls-port.ts';

const POLL_MS = 8_000;
const authority = makeAuthority();
const other = makeAuthority('Another authority');

let folder: string;
let tls: ListenerTls;
let port: TlsPort;
let server: Server;
let failures: string[];
let lines: string[];
const open: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-minting-'));
  tls = { at: 'gateways.g.tls', cert: join(folder, 'ca.pem'), key: join(folder, 'ca.key'), root: undefined, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', cipherSuites: [], keyExchangeGroups: [], dynamicCa: true };
  [failures, lines] = [[], []];
  await save(authority.ca, authority.key);
  const log = createLog({ level: 'info', format: 'json', sink: { write: (line: string) => void lines.push(line) } });
  port = new TlsPort({ log, failed: (why) => failures.push(why) });
  server = createHttpServer((request, response) => response.send(200, {}, request.host), { secure: port.secure });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await stopHttpServer(server, 0);
  await rm(folder, { recursive: true, force: true });
});

const save = (cert: string, key: string): Promise<unknown> => Promise.all([writeFile(join(folder, 'ca.pem'), cert), writeFile(join(folder, 'ca.key'), key)]);
const listenerOf = (hostname: string | undefined, settings: Partial<ListenerTls> = {}): Listener => ({ name: 'any', hostname, tls: { ...tls, ...settings }, policies: {}, routes: [] });

/** A connection to one who has a certificate of the authority for the name; rejects otherwise. */
async function shake(servername: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, ca: [authority.ca], servername, ...options });
  open.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

const isRefused = (servername: string, options?: ConnectionOptions): Promise<boolean> => shake(servername, options).then(() => false, () => true);
const serialOf = (socket: TLSSocket): string => socket.getPeerCertificate().serialNumber;

describe('a listener with an authority', () => {
  test('shows each name a certificate of its own, the same one while it is kept, in both versions', async () => {
    await port.follow([listenerOf(undefined)]);
    const [a, b] = [await shake('a.example'), await shake('b.example', { maxVersion: 'TLSv1.2' })];
    expect([a, b].map((socket) => socket.getPeerCertificate().subjectaltname)).toEqual(['DNS:a.example', 'DNS:b.example']);
    expect(serialOf(await shake('a.example', { maxVersion: 'TLSv1.2' }))).toBe(serialOf(a));
    a.write('GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n');
    expect(String((await once(a, 'data'))[0])).toMatch(/^HTTP\/1\.1 200 /);
    expect(failures).toEqual([]);
  });

  test('refuses a client that names no server, or another host', async () => {
    await port.follow([listenerOf('*.example')]);
    expect([await isRefused('a.example'), await isRefused(''), await isRefused('a.test')]).toEqual([false, true, true]);
    await expect.poll(() => failures, { timeout: POLL_MS }).toEqual(['refused', 'refused']);
  });

  test('keeps to the settings of its own', async () => {
    await port.follow([listenerOf(undefined, { minVersion: 'TLSv1.3', keyExchangeGroups: ['P-256'] })]);
    expect([await isRefused('a.example'), await isRefused('a.example', { maxVersion: 'TLSv1.2' }), await isRefused('a.example', { ecdhCurve: 'X25519' })]).toEqual([false, true, true]);
  });

  test('forgets what it made when the authority is replaced', async () => {
    await port.follow([listenerOf(undefined)]);
    const before = await shake('a.example');
    await save(other.ca, other.key);
    await port.reload();
    expect(await isRefused('a.example')).toBe(true);
    const after = await shake('a.example', { ca: [other.ca] });
    expect(after.getPeerCertificate().issuer.CN).toBe('Another authority');
    expect(before.destroyed).toBe(false);
  });

  test('stays with the last one when a file is broken, and becomes one with a certificate of its own and back', async () => {
    await port.follow([listenerOf(undefined)]);
    const before = await shake('a.example');
    await save(authority.ca, other.key);
    await port.reload();
    expect(serialOf(await shake('a.example'))).toBe(serialOf(before));
    expect(lines.filter((line) => line.includes('does not belong to the certificate in cert'))).toHaveLength(1);
    const { cert, key } = authority.issue('fixed', { dns: ['a.example'] });
    await save(cert, key);
    const { dynamicCa: _, ...fixed } = tls;
    await port.follow([{ ...listenerOf(undefined), tls: fixed }]);
    expect((await shake('a.example')).getPeerCertificate().subject.CN).toBe('fixed');
    await save(authority.ca, authority.key);
    await port.follow([listenerOf(undefined)]);
    expect((await shake('b.example')).getPeerCertificate().subject.CN).toBe('b.example');
  });

  test('does not serve by the certificate of a server', async () => {
    const { cert, key } = authority.issue('server', { dns: ['a.example'] });
    await save(cert, key);
    await port.follow([listenerOf(undefined)]);
    expect(port.usable).toBe(false);
    expect(lines.join('')).toContain('is the certificate of no authority');
  });
});
