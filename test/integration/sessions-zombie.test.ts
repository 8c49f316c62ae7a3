/**
 * A session worker that is stopped (SIGSTOP) while it owns a session, and goes on after another has taken it over: it must do
 * no harm. PARLEY_TEST_ZOMBIE_MS keeps it stopped for longer than the calls take.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { Kvm } from '@nats-io/kv';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { type OpenRecord, SESSIONS_BUCKET, readSessionRecord, sessionKey } from '#protocol/records/session.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startCommand, type Command } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { openLegacy, rpc } from '../world/wire.ts';

const STOPPED_MS = Number(process.env['PARLEY_TEST_ZOMBIE_MS'] ?? 0);

let nats: NatsWorld;
let bare: NatsConnection;
let server: MisbehavingHttp;
let folder: string;
let url: string;
const audit: AuditData[] = [];
const running: Command[] = [];

beforeAll(async () => {
  [nats, server, folder] = await Promise.all([startNats(), startMisbehaving({ era: 'legacy' }), mkdtemp(join(tmpdir(), 'parley-zombie-'))]);
  bare = await connect({ servers: nats.url });
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
  const port = await freePort();
  url = `http://127.0.0.1:${port}/mcp`;
  const config = join(folder, 'config.yaml');
  await writeFile(config, stringify({ mcp: { port, targets: [{ name: 'fixture', mcp: { host: server.url } }] } }));
  await start(['run', 'policy', '-f', config]);
  await Promise.all([start(['run', 'ingress']), start(['run', 'connector'])]);
});
afterAll(async () => {
  for (const command of running) command.signal('SIGCONT');
  await Promise.all(running.map((command) => command.stop()));
  await bare.close();
  await Promise.all([nats.stop(), server.close(), rm(folder, { recursive: true, force: true })]);
});

async function start(args: readonly string[]): Promise<Command> {
  const command = startCommand(args, { NATS_URL: nats.url });
  running.push(command);
  await command.line(/^ready after/);
  return command;
}

async function recordOf(session: string): Promise<OpenRecord> {
  const entry = await (await new Kvm(bare).open(SESSIONS_BUCKET)).get(sessionKey('anonymous', session));
  const record = readSessionRecord(entry?.string() ?? '');
  if (record?.state !== 'open') throw new Error('the session is not open');
  return record;
}

/** How often the server was asked to do this. */
const effects = (message: string): number => server.seen.filter(({ rpc: asked }) => (asked?.params?.['arguments'] as { message?: string } | undefined)?.message === message).length;

test('a worker that was stopped and goes on does no harm: no call runs twice, the session stays with its new owner, the old one lets go', async () => {
  const zombie = await start(['run', 'session']);
  const session = await openLegacy(url);
  const { owner: zombieName } = await recordOf(session.id);
  await start(['run', 'session']);
  zombie.signal('SIGSTOP');
  const said: string[] = [];
  const say = (message: string): Promise<string | undefined> => {
    said.push(message);
    return session.call('echo', { message });
  };
  expect(await Promise.all(Array.from({ length: 5 }, (_, n) => say(`while it is stopped ${n}`)))).toEqual(said);
  expect(await say('alone')).toBe('alone');
  const taken = await recordOf(session.id);
  expect(taken).toMatchObject({ epoch: 2 });
  expect(taken.owner).not.toBe(zombieName);
  await wait(STOPPED_MS);

  const waking = Array.from({ length: 20 }, (_, n) => say(`as it wakes ${n}`));
  zombie.signal('SIGCONT');
  expect(await Promise.all(waking)).toEqual(said.slice(-20));
  await eventually('the old owner to let go', () => audit.find(({ kind, session: start }) => kind === 'session_moved' && start !== undefined && session.id.startsWith(start)));
  expect((await session.send(rpc('logging/setLevel', { level: 'error' }))).json?.error).toBeUndefined();
  expect(await Promise.all(Array.from({ length: 20 }, (_, n) => say(`afterwards ${n}`)))).toEqual(said.slice(-20));
  expect(await recordOf(session.id)).toMatchObject({ epoch: 2, owner: taken.owner, logLevel: 'error' });
  for (const message of said) expect(effects(message), message).toBe(1);
}, 60_000 + STOPPED_MS);
