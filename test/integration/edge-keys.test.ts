/** Policies that say who calls, in front of a real server: with the official client, and for sessions of somebody else. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { hashSync } from 'bcrypt';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { startCommand } from '../world/command.ts';
import type { Command } from '../world/command.ts';
import { freePort } from '../world/port.ts';
import { connect } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { jetstreamManager } from '@nats-io/jetstream';
import { auditEvent } from '#protocol/audit/event.ts';
import { eventually } from '../world/parley.ts';
import { LEGACY, callOf, initializeOf, note, send, textOf } from '../world/wire.ts';
import type { Headers } from '../world/wire.ts';

const ADA = 'planted-key-of-ada-0123456789';
const GRACE = 'planted-key-of-grace-0123456789';
const PASSWORD = 'planted-password-0123456789';
const SECRETS = [ADA, GRACE, PASSWORD, Buffer.from(`ada:${PASSWORD}`).toString('base64')];

let everything: Everything;
let folder: string;
let up: Command;
let base: string;
let nats: NatsConnection;

const bearer = (key: string): Headers => ({ authorization: `Bearer ${key}` });
const basic = (text: string): Headers => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });

beforeAll(async () => {
  everything = await startEverything();
  folder = await mkdtemp(join(tmpdir(), 'parley-keys-'));
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  const users = join(folder, 'users');
  await writeFile(users, `ada:${hashSync(PASSWORD, 6)}\n`);
  const route = (name: string, policies: object) => ({ name, matches: [{ path: { pathPrefix: `/${name}` } }], policies, backends: [{ backend: 'everything' }] });
  const config = {
    gateways: { default: { port } },
    backends: [{ name: 'everything', mcp: { targets: [{ name: 'fixture', mcp: { host: everything.url } }] } }],
    routes: [
      route('key', { apiKey: { mode: 'strict', keys: [{ key: '$ADA_KEY', metadata: { user: 'ada' } }, { key: '$GRACE_KEY' }] } }),
      route('password', { basicAuth: { mode: 'strict', realm: 'Engines', htpasswd: { file: users } } }),
      route('page', { csrf: { additionalOrigins: ['https://app.example.com'] } }),
    ],
  };
  const file = join(folder, 'parley.yaml');
  await writeFile(file, JSON.stringify(config));
  up = startCommand(['up', '--data', join(folder, 'data'), '-f', file], { ADA_KEY: ADA, GRACE_KEY: GRACE, PARLEY_LOG_LEVEL: 'debug' });
  await up.line(/^ready after/);
  const [servers = ''] = /nats:\/\/\S+/.exec(await up.line(/^nats /)) ?? [];
  nats = await connect({ servers });
});
afterAll(async () => {
  await nats?.close();
  await up?.stop();
  await everything?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The official client's answer to `echo`. */
async function echoed(path: string, headers: Record<string, string>): Promise<unknown> {
  const client = new Client({ name: 'keys', version: '1' });
  onTestFinished(() => client.close());
  await client.connect(new StreamableHTTPClientTransport(new URL(`${base}${path}`), { requestInit: { headers } }));
  const { content } = await client.callTool({ name: 'echo', arguments: { message: 'hi' } });
  return content;
}

async function openSession(path: string, headers: Headers): Promise<Headers> {
  const opened = await send(`${base}${path}`, { headers, body: initializeOf() });
  expect(opened.status).toBe(200);
  const session = { 'mcp-session-id': String(opened.headers['mcp-session-id']), 'mcp-protocol-version': LEGACY };
  await send(`${base}${path}`, { headers: { ...headers, ...session }, body: note('notifications/initialized') });
  return session;
}

describe('the official client', () => {
  test.each([
    ['a key', '/key', bearer(ADA)],
    ['a user name and a password', '/password', basic(`ada:${PASSWORD}`)],
    ['nothing, where only pages of other sites are denied', '/page', {}],
  ])('is served with %s', async (_what, path, headers) => {
    expect(await echoed(path, headers as Record<string, string>)).toEqual([{ type: 'text', text: 'Echo: hi' }]);
  });

  test.each([
    ['no key', '/key', {}],
    ['an unknown key', '/key', bearer('nobody')],
    ['a password, where a key is asked for', '/key', basic(`ada:${PASSWORD}`)],
    ['no password', '/password', {}],
    ['a wrong password', '/password', basic('ada:wrong')],
    ['a wrong name', '/password', basic(`grace:${PASSWORD}`)],
    ['the page of another site', '/page', { origin: 'https://evil.test' }],
  ])('is turned away with %s', async (_what, path, headers) => {
    await expect(echoed(path, headers as Record<string, string>)).rejects.toThrow();
  });
});

test('a denial says how to come back', async () => {
  const [key, password] = [await send(`${base}/key`, { body: initializeOf() }), await send(`${base}/password`, { body: initializeOf() })];
  expect([key.status, key.headers['www-authenticate']]).toEqual([401, 'Bearer']);
  expect([password.status, password.headers['www-authenticate']]).toEqual([401, 'Basic realm="Engines"']);
});

test('a page of a listed origin may call, and one of another site may not', async () => {
  const status = async (headers: Headers) => (await send(`${base}/page`, { headers, body: initializeOf() })).status;
  expect([await status({ origin: 'https://app.example.com' }), await status({ 'sec-fetch-site': 'cross-site' }), await status({ origin: 'http://localhost:5173' })]).toEqual([200, 403, 403]);
});

test('a session of one key is none for another, and the attempt is written down', async () => {
  const session = await openSession('/key', bearer(ADA));
  const refused: unknown[] = [];
  const subscription = nats.subscribe('audit.session_refused.>', { callback: (_error, message) => void refused.push(auditEvent.parse(message.json()).data) });
  onTestFinished(() => subscription.unsubscribe());
  await nats.flush();
  const body = callOf('echo', { message: 'mine' });
  const stolen = await send(`${base}/key`, { headers: { ...session, ...bearer(GRACE) }, body });
  expect([stolen.status, stolen.json?.error?.code]).toEqual([404, -32001]);
  const event = await eventually('the audit event', () => refused[0]);
  expect(event).toMatchObject({ kind: 'session_refused', route: 'key', principal: expect.stringMatching(/^key:[0-9a-f]{16}$/) });
  const mine = await send(`${base}/key`, { headers: { ...session, ...bearer(ADA) }, body });
  expect(textOf(mine.json)).toBe('Echo: mine');
});

test('a session of one route is none where another policy says who calls', async () => {
  const session = await openSession('/key', bearer(ADA));
  const { status } = await send(`${base}/password`, { headers: { ...session, ...basic(`ada:${PASSWORD}`) }, body: callOf('echo', { message: 'm' }) });
  expect(status).toBe(404);
});

/** Last, when all of the above has happened. */
test('no key and no password is in a log, in the audit stream, in KV, or anywhere else in NATS', async () => {
  const manager = await jetstreamManager(nats);
  const read: string[] = [];
  for await (const { config } of manager.streams.list()) {
    const { state } = await manager.streams.info(config.name);
    for (let seq = state.first_seq; seq <= state.last_seq && state.messages > 0; seq += 1) {
      const message = await manager.streams.getMessage(config.name, { seq }).catch(() => null);
      if (message !== null) read.push(`${message.subject} ${message.header?.toString() ?? ''} ${new TextDecoder().decode(message.data)}`);
    }
  }
  expect(read.some((text) => text.startsWith('audit.call_denied.'))).toBe(true);
  expect(read.some((text) => text.includes('$ADA_KEY'))).toBe(true);
  const { stdout, stderr } = await up.stop();
  const all = [...read, stdout, stderr].join('\n');
  for (const secret of SECRETS) expect(all.includes(secret)).toBe(false);
});
