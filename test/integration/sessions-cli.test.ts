/** `parley sessions`: what an operator sees of sessions, and how they are ended, as a process of its own. */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { SESSIONS_BUCKET, sessionKey } from '#protocol/records/session.ts';
import { KvSessionStore } from '../../services/session/runtime/store.ts';
import { newSession, recordOf } from '../contracts/session-bench.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { runCommand, type Ended } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { callOf, openLegacy, openStream } from '../world/wire.ts';

const EXIT = { ok: 0, failed: 1, usage: 2 };
const KILLED_WITHIN_MS = 1_000;

let nats: NatsWorld;
let bare: NatsConnection;
let server: MisbehavingHttp;
let parley: ParleyWorld;
/** Another ingress and worker of the same cluster. */
let other: ParleyWorld;
let store: KvSessionStore;
const audit: AuditData[] = [];

const sessions = (...args: readonly string[]): Promise<Ended> => runCommand(['sessions', ...args], { NATS_URL: nats.url });
const shown = (id: string): string => id.slice(0, 8);

beforeAll(async () => {
  [nats, server] = await Promise.all([startNats(), startMisbehaving({ era: 'legacy' })]);
  bare = await connect({ servers: nats.url });
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
  parley = await startParley({ nats, config: { mcp: { targets: [{ name: 'fixture', mcp: { host: server.url } }] } } });
  other = await startParley({ nats, services: ['session'] });
  store = await KvSessionStore.open(parley.host.nats, Date.now);
});
afterAll(async () => {
  await other.stop();
  await parley.stop();
  await bare.close();
  await Promise.all([nats.stop(), server.close()]);
});

describe('the sessions commands', () => {
  test.each(['parley sessions', 'parley sessions ls', 'parley sessions show', 'parley sessions kill'])('have help with an example: `%s`', async (command) => {
    const { code, stdout, stderr } = await runCommand([...command.split(' ').slice(1), '--help']);
    expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: '' });
    expect(stdout).toContain(`Usage: ${command} `);
    expect(stdout).toMatch(/Examples?:\n {2}\$ .*parley /);
  });

  test.each([
    [['lst'], 'unknown command'],
    [['ls', '--older', 'long'], 'Write a duration'],
    [['ls', '--limit', '0'], 'Write a whole number'],
    [['show'], "missing required argument 'id'"],
    [['show', 'abc'], 'Write 4 characters at least'],
    [['kill'], 'name the sessions to kill'],
    [['kill', 'abcd', '--all', '--yes'], 'name the sessions to kill'],
    [['kill', 'abc'], 'too little of an id'],
    [['kill', '--all'], 'say --yes, too'],
  ])('refuse %j, which they cannot mean', async (args, reason) => {
    const { code, stdout, stderr } = await sessions(...args);
    expect(stderr).toContain(reason);
    expect({ code, stdout }).toEqual({ code: EXIT.usage, stdout: '' });
  });
});

describe('parley sessions ls', () => {
  test('prints a line for each open session: who, where, since when, and with which client, without letting anybody in', async () => {
    const session = await openLegacy(parley.url);
    const { code, stdout } = await sessions('ls');
    expect(code).toBe(EXIT.ok);
    const [head, ...lines] = stdout.trimEnd().split('\n');
    expect(head).toMatch(/^ID +PRINCIPAL +ROUTE +BACKEND +STATE +OWNER +OPENED +SEEN +CLIENT$/);
    expect(lines.find((line) => line.startsWith(shown(session.id)))).toMatch(/^\S{8} {2}anonymous +\S+ +\S+ +live +test-\w+ +\d+s +\d+s +"wire 1"$/);
    expect(stdout).not.toContain(session.id);
    expect(stdout).not.toContain('\u001b');
    await session.end();
    expect((await sessions('ls')).stdout).not.toContain(shown(session.id));
  });

  test('gives a script one JSON object per line, of one principal, of one route, of those not seen for a while, up to a limit', async () => {
    const [old, rested, fresh] = [newSession(), newSession(), newSession()];
    const hourAgo = Date.now() - 3600_000;
    await store.create(old, recordOf({ principal: 'alice', seenAt: hourAgo, openedAt: hourAgo }));
    await store.create(rested, recordOf({ principal: 'alice', owner: null, seenAt: hourAgo, route: 'else' }));
    await store.create(fresh, recordOf({ principal: 'alice', seenAt: Date.now() }));
    const listed = async (...args: readonly string[]): Promise<unknown[]> => {
      const { code, stdout } = await sessions('ls', '--json', '--principal', 'alice', ...args);
      expect(code).toBe(EXIT.ok);
      return stdout.trimEnd().split('\n').filter(Boolean).map((line) => JSON.parse(line) as unknown);
    };
    expect(await listed()).toMatchObject([{ id: shown(old) }, { id: shown(rested) }, { id: shown(fresh) }]);
    expect(await listed('--older', '10m')).toEqual([
      { id: shown(old), state: 'live', owner: 'worker-1', principal: 'alice', route: 'default', backend: 'mcp', openedAt: new Date(hourAgo).toISOString(), seenAt: new Date(hourAgo).toISOString(), client: { name: 'täglich 🦜', version: '' } },
      expect.objectContaining({ id: shown(rested), state: 'at rest' }),
    ]);
    expect(await listed('--route', 'else')).toMatchObject([{ id: shown(rested) }]);
    expect(await listed('--limit', '2')).toHaveLength(2);
    expect(await sessions('ls', '--principal', 'nobody')).toMatchObject({ code: EXIT.ok, stdout: '', stderr: 'no session\n' });
  });

  test('shows what came from outside without obeying it, and a record that cannot be read as what it is', async () => {
    const session = newSession();
    const initialize = JSON.stringify({ method: 'initialize', params: { clientInfo: { name: 'evil\u001b[2J\nfake', version: '1' } } });
    await store.create(session, recordOf({ principal: 'mallory\u001b[2J', initialize }));
    const poison = newSession();
    await (await parley.host.nats.kv(SESSIONS_BUCKET)).put(sessionKey('anonymous', poison), '{');
    const { stdout } = await sessions('ls');
    expect(stdout).not.toContain('\u001b');
    expect(stdout.split('\n').find((line) => line.startsWith(shown(session)))).toContain('"evil\\u001b[2J\\nfake 1"');
    expect(stdout.split('\n').find((line) => line.startsWith(shown(poison)))).toContain('unreadable');
  });

  test('says that nobody is there to be asked', async () => {
    expect(await runCommand(['sessions', 'ls', '--data', '/nowhere'])).toMatchObject({ code: EXIT.usage, stderr: expect.stringContaining('no `parley up` is running on the data directory /nowhere') });
  });
});

describe('parley sessions show', () => {
  test('prints the record, the initialize request summarised and no id that lets one in; the whole of it when asked', async () => {
    const session = await openLegacy(parley.url);
    const upstream = server.seen.findLast(({ rpc }) => rpc?.method === 'notifications/initialized')?.session ?? '';
    const { code, stdout } = await sessions('show', shown(session.id));
    expect(code).toBe(EXIT.ok);
    expect(stdout).not.toContain(session.id);
    expect(stdout).not.toContain(upstream);
    expect(JSON.parse(stdout)).toMatchObject({
      id: `${shown(session.id)}…`,
      state: 'open',
      principal: 'anonymous',
      initialized: true,
      initialize: { client: { name: 'wire', version: '1' }, protocolVersion: '2025-11-25', capabilities: [] },
      upstreams: { targets: { fixture: { session: `${shown(upstream)}…`, capabilities: ['tools', 'logging', 'resources'] } } },
    });
    const full = await sessions('show', shown(session.id), '--full', '--json');
    expect(full.stdout.trimEnd()).not.toContain('\n');
    expect(JSON.parse(full.stdout)).toMatchObject({ id: session.id, initialize: { method: 'initialize' }, upstreams: { targets: { fixture: { session: upstream } } } });
    await session.end();
    expect(JSON.parse((await sessions('show', shown(session.id))).stdout)).toMatchObject({ state: 'closed', reason: 'deleted' });
  });

  test.each([
    ['unknown', async () => 'nosuchid', 'no session begins with nosuchid'],
    [
      'too short to be one session',
      async () => {
        for (const end of ['one', 'two']) await store.create(`double-${end}`, recordOf({ principal: 'bob' }));
        return 'double';
      },
      '2 sessions begin with double',
    ],
  ])('ends with 1 when the id is %s', async (_how, id, said) => {
    expect(await sessions('show', await id())).toMatchObject({ code: EXIT.failed, stdout: '', stderr: expect.stringContaining(said) });
  });
});

describe('parley sessions kill', () => {
  test('ends a session everywhere within a second: its stream, its upstream session, and for whoever comes again', async () => {
    const session = await openLegacy(parley.url);
    const upstream = server.seen.findLast(({ rpc }) => rpc?.method === 'notifications/initialized')?.session;
    const stream = await openStream(parley.url, { headers: session.headers });
    let endedAt = Number.POSITIVE_INFINITY;
    void stream.ended.then(() => (endedAt = performance.now()));
    const killed = sessions('kill', shown(session.id));
    const buried = await eventually('the audit event', () => (audit.some(({ kind, reason, session: id }) => kind === 'session_closed' && reason === 'killed' && id === shown(session.id)) ? performance.now() : undefined));
    expect(await killed).toMatchObject({ code: EXIT.ok, stdout: `killed ${shown(session.id)}\n`, stderr: '1 session killed\n' });
    await stream.ended;
    expect(endedAt - buried).toBeLessThan(KILLED_WITHIN_MS);
    await server.saw(({ http, session: id }) => http === 'DELETE' && id === upstream);
    expect((await session.send(callOf('echo'))).status).toBe(404);
    expect((await store.read({ session: session.id, principal: 'anonymous' }))?.record).toMatchObject({ state: 'closed', reason: 'killed' });
  });

  test('ends sessions at rest and those of a worker that is gone, all of a principal', async () => {
    const [rested, orphan] = [newSession(), newSession()];
    await store.create(rested, recordOf({ principal: 'dave', owner: null }));
    await store.create(orphan, recordOf({ principal: 'dave', owner: 'session-gone' }));
    const { code, stdout, stderr } = await sessions('kill', '--principal', 'dave');
    expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: '2 sessions killed\n' });
    expect(new Set(stdout.trimEnd().split('\n'))).toEqual(new Set([rested, orphan].map((id) => `killed ${shown(id)}`)));
    for (const session of [rested, orphan]) expect((await store.read({ session, principal: 'dave' }))?.record).toMatchObject({ reason: 'killed' });
    expect(await sessions('kill', '--principal', 'dave')).toMatchObject({ code: EXIT.ok, stdout: '', stderr: 'no session to kill\n' });
  });

  test('ends those it knows, names those it does not, and ends with 1', async () => {
    const [known, closed] = [newSession(), newSession()];
    await store.create(known, recordOf({ principal: 'eve', owner: null }));
    await store.bury(closed, recordOf({ principal: 'eve' }), 'expired', await store.create(closed, recordOf({ principal: 'eve' })));
    const { code, stdout, stderr } = await sessions('kill', shown(known), 'nosuchid', shown(closed));
    expect({ code, stdout }).toEqual({ code: EXIT.failed, stdout: `killed ${shown(known)}\n` });
    expect(stderr).toContain('no session begins with nosuchid');
    expect(stderr).toContain(`session ${shown(closed)} is closed already`);
    expect(stderr).toContain('2 of 3 were not killed');
  });

  test('tells a script what became of each', async () => {
    const known = newSession();
    await store.create(known, recordOf({ principal: 'frank', owner: null }));
    const { code, stdout } = await sessions('kill', '--json', shown(known), 'nosuchid');
    expect(code).toBe(EXIT.failed);
    expect(stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown)).toEqual([
      { id: shown(known), principal: 'frank', killed: true },
      { id: 'nosuchid', killed: false, reason: 'no session begins with nosuchid' },
    ]);
  });

  test('ends all of them when that is certain', async () => {
    const open = await Promise.all(Array.from({ length: 40 }, () => openLegacy(parley.url)));
    const { code } = await sessions('kill', '--all', '--yes');
    expect(code).toBe(EXIT.ok);
    for (const session of open) expect((await session.send(callOf('echo'))).status).toBe(404);
    expect((await sessions('ls', '--json')).stdout.split('\n').filter((line) => line.includes('"live"') || line.includes('"at rest"'))).toEqual([]);
  });

  test('says that no worker runs', async () => {
    const session = newSession();
    const alone = await startNats();
    const there = await startParley({ nats: alone, services: [] });
    try {
      await (await KvSessionStore.open(there.host.nats, Date.now)).create(session, recordOf({ owner: null }));
      const { code, stderr } = await runCommand(['sessions', 'kill', shown(session)], { NATS_URL: alone.url });
      expect(code).toBe(EXIT.failed);
      expect(stderr).toContain('no session worker runs');
    } finally {
      await there.stop();
      await alone.stop();
    }
  });
});
