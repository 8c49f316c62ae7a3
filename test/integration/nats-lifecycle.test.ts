import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as dial, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { StorageType } from '@nats-io/jetstream';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { applyLayout, type Applied } from '#deploy/nats/apply.ts';
import { BUCKETS, STREAMS } from '#deploy/nats/layout.ts';
import { startNatsChild, type NatsChild } from '#host/nats/child.ts';
import { connectNats } from '#host/nats/connect.ts';
import { runningServerUrl } from '#host/nats/data-dir.ts';
import { natsHandle } from '#host/nats/handle.ts';
import { runServer } from '#host/nats/program.ts';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import type { NatsHandle } from '#host/host.ts';
import { listeningLog, type HeardLog } from '../world/log.ts';
import { freePort } from '../world/port.ts';

let bin: string;
let dir: string;
let heard: HeardLog;
let undo: (() => Promise<unknown>)[];

beforeAll(async () => {
  bin = (await resolveNatsServer(process.env)).path;
});
beforeEach(async () => {
  undo = [];
  heard = listeningLog();
  dir = await mkdtemp(join(tmpdir(), 'parley-lifecycle-'));
});
afterEach(async () => {
  for (const step of undo.toReversed()) await step();
  await rm(dir, { recursive: true, force: true });
});

async function child(port?: number): Promise<NatsChild> {
  const started = await startNatsChild({ bin, dataDir: dir, log: heard.log, ...(port === undefined ? {} : { port }) });
  undo.push(() => started.stop());
  return started;
}

async function handle(url: string, waitMs = 10_000): Promise<NatsHandle> {
  const connection = await connectNats({ url, name: 'test', log: heard.log, waitMs });
  undo.push(() => connection.close());
  return natsHandle(connection);
}

/** A server with a configuration of its own. */
async function serverWith(config: string): Promise<string> {
  const file = join(dir, 'own.conf');
  await writeFile(file, `host: 127.0.0.1\nport: -1\nlogtime: false\n${config}`);
  const server = await runServer(bin, file, heard.log);
  undo.push(() => server.stop());
  return `127.0.0.1:${server.port}`;
}

describe('our own nats-server', () => {
  test('speaks JetStream on loopback, takes 8 MiB, and is found by its data directory while it runs', async () => {
    const server = await child();
    const { connection } = await handle(server.url);
    expect(connection.info).toMatchObject({ jetstream: true, host: '127.0.0.1', max_payload: 8 * 1024 * 1024 });
    expect(await runningServerUrl(dir)).toBe(server.url);
    await server.stop();
    expect(await runningServerUrl(dir)).toBeUndefined();
  });

  test('is one per data directory: the second start is told who has it', async () => {
    const server = await child();
    await expect(startNatsChild({ bin, dataDir: dir, log: heard.log })).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(server.url) });
  });

  test('a program that fails to start is an error with its own words, and the directory is free again', async () => {
    const taken = await child();
    const other = join(dir, 'other');
    await expect(startNatsChild({ bin, dataDir: other, log: heard.log, port: taken.port })).rejects.toThrow(/did not start: exit code 1[^]*address already in use/);
    const second = await startNatsChild({ bin, dataDir: other, log: heard.log });
    await second.stop();
  });

  test('is started again on its port when it dies unasked, and the connection finds it', async () => {
    const server = await child();
    const { connection, jsm } = await handle(server.url);
    await applyLayout(jsm);
    const first = server.pid;
    process.kill(first, 'SIGKILL');
    await heard.heard('nats-server is back');
    await heard.heard('the connection to NATS is back');
    expect(server.pid).not.toBe(first);
    expect(await applyLayout(jsm)).toSatisfy((all: Applied[]) => all.every(({ outcome }) => outcome === 'unchanged'));
    expect(connection.isClosed()).toBe(false);
  });

  test.skipIf(process.platform === 'win32')('ends when its owner is killed without a chance to say goodbye', async () => {
    const script = `
      import { startNatsChild } from '#host/nats/child.ts';
      import { createLog } from '#host/telemetry/log.ts';
      const server = await startNatsChild({ bin: process.argv[1], dataDir: process.argv[2], log: createLog({ level: 'silent', format: 'json' }) });
      console.log(server.port);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script, bin, dir], { stdio: ['ignore', 'pipe', 'inherit'], cwd: import.meta.dirname });
    const [port] = (await once(createInterface({ input: owner.stdout }), 'line')) as [string];
    const socket = dial(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'data');
    const closed = once(socket, 'close');
    owner.kill('SIGKILL');
    await closed;
    const next = await child();
    expect(next.pid).toBeGreaterThan(0);
  });
});

describe('the connection', () => {
  test('waits for a NATS that is down at the start, says so, and goes on when it comes up', async () => {
    const port = await freePort();
    const connecting = handle(`nats://127.0.0.1:${port}`);
    expect(await heard.heard('waiting for it, up to 10 s')).toContain(`127.0.0.1:${port}`);
    await child(port);
    expect((await connecting).connection.isClosed()).toBe(false);
    await heard.heard('NATS is up');
  });

  test('gives up after its limit, naming the address and the variables', async () => {
    const url = `nats://parley:hunter2@127.0.0.1:${await freePort()}`;
    const refusal = await handle(url, 300).catch((error: Error) => error.message);
    expect(refusal).toMatch(/did not come up within 0\.3 s .*NATS_URL.*PARLEY_NATS_WAIT/);
    expect(refusal + heard.lines.join('')).not.toContain('hunter2');
  });

  test('stops waiting when it is told to', async () => {
    const stop = new AbortController();
    const connecting = connectNats({ url: `127.0.0.1:${await freePort()}`, name: 'test', log: heard.log, waitMs: 60_000, signal: stop.signal });
    await heard.heard('waiting for it');
    stop.abort();
    await expect(connecting).rejects.toThrow(/abort/i);
  });

  test('comes back after a restart with everything that was stored', async () => {
    const server = await child();
    const { jsm, kv } = await handle(server.url);
    await applyLayout(jsm);
    await (await kv('parley-sessions')).put('s1', 'kept');
    await server.restart();
    await heard.heard('the connection to NATS is back');
    expect((await (await kv('parley-sessions')).get('s1'))?.string()).toBe('kept');
  });

  test('uses the user in the URL, and is told when it is refused', async () => {
    const where = await serverWith(`jetstream { store_dir: "${dir}" }\nauthorization { user: parley, password: "p@ss" }`);
    const { connection } = await handle(`nats://parley:p%40ss@${where}`);
    expect(connection.isClosed()).toBe(false);
    await expect(handle(`nats://parley:wrong@${where}`)).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('refuses our credentials') });
  });

  test('uses the user it is given rather than the one in the URL', async () => {
    const where = await serverWith(`jetstream { store_dir: "${dir}" }\nauthorization { user: parley, password: "p@ss" }`);
    const url = `nats://somebody:else@${where}`;
    const connection = await connectNats({ url, name: 'test', log: heard.log, waitMs: 5_000, access: { user: 'parley', password: 'p@ss' } });
    expect(connection.isClosed()).toBe(false);
    await connection.close();
  });

  test('refuses a server without JetStream at once', async () => {
    await expect(handle(await serverWith(''))).rejects.toThrow(/runs without JetStream: start it with -js/);
  });

  test('refuses a server that is too old, naming both versions', async () => {
    const old = createServer((socket) => {
      socket.on('error', () => {});
      socket.write('INFO {"server_id":"OLD","version":"2.9.10","headers":true,"max_payload":1048576,"jetstream":true}\r\n');
      socket.on('data', (data) => void (data.includes('PING') && socket.write('PONG\r\n')));
    }).listen(0, '127.0.0.1');
    await once(old, 'listening');
    undo.push(async () => old.close());
    await expect(handle(`127.0.0.1:${(old.address() as AddressInfo).port}`)).rejects.toThrow(/is nats-server 2\.9\.10: Parley needs 2\.12\.0/);
  });
});

describe('the layout', () => {
  test('is created once, and applying it again changes nothing', async () => {
    const { jsm } = await handle((await child()).url);
    const names = [...STREAMS.map(({ name }) => name), ...BUCKETS.map(({ name }) => `bucket ${name}`)];
    expect(names.slice(0, 5)).toEqual(['AUDIT', 'REPLAY', 'bucket parley-config', 'bucket parley-sessions', 'bucket parley-quarantine']);
    expect(await applyLayout(jsm)).toEqual(names.map((name) => ({ name, outcome: 'created', changes: [] })));
    expect(await applyLayout(jsm)).toEqual(names.map((name) => ({ name, outcome: 'unchanged', changes: [] })));
    expect(await applyLayout(jsm, { replicas: 1 })).toEqual(names.map((name) => ({ name, outcome: 'unchanged', changes: [] })));
  });

  test('may be applied by several processes at once', async () => {
    const { url } = await child();
    const handles = await Promise.all([handle(url), handle(url), handle(url)]);
    const applied = await Promise.all(handles.map(({ jsm }) => applyLayout(jsm)));
    expect(applied.flat().every(({ outcome }) => outcome !== 'updated')).toBe(true);
  });

  test('brings back what somebody changed, and leaves what it does not speak of', async () => {
    const { jsm } = await handle((await child()).url);
    await applyLayout(jsm);
    await jsm.streams.update('AUDIT', { description: 'mine', max_msgs: 1234 });
    expect(await applyLayout(jsm)).toContainEqual({ name: 'AUDIT', outcome: 'updated', changes: ['description'] });
    expect((await jsm.streams.info('AUDIT')).config).toMatchObject({ max_msgs: 1234, description: expect.stringContaining('CloudEvents') });
  });

  test('refuses what cannot be changed in place, and deletes nothing', async () => {
    const { jsm, js } = await handle((await child()).url);
    await jsm.streams.add({ name: 'AUDIT', subjects: ['audit.>'], storage: StorageType.Memory });
    await js.publish('audit.a.b.c', 'precious');
    await expect(applyLayout(jsm)).rejects.toMatchObject({ code: 'conflict', message: expect.stringMatching(/AUDIT: the server refuses .*storage.*Parley deletes nothing/) });
    expect((await jsm.streams.info('AUDIT')).state.messages).toBe(1);
  });

  test('says that several replicas need a cluster, whether the streams are there already or not', async () => {
    const { jsm } = await handle((await child()).url);
    const refusal = { code: 'invalid', message: expect.stringMatching(/AUDIT: several replicas are asked for .*PARLEY_REPLICAS.*not part of a cluster/) };
    await expect(applyLayout(jsm, { replicas: 3 })).rejects.toMatchObject(refusal);
    await applyLayout(jsm);
    await expect(applyLayout(jsm, { replicas: 3 })).rejects.toMatchObject(refusal);
    expect((await jsm.streams.info('AUDIT')).config.num_replicas).toBe(1);
  });

  test('says how much is kept and how long when it creates, and leaves what an operator made of it', async () => {
    const { jsm } = await handle((await child()).url);
    await applyLayout(jsm);
    expect((await jsm.streams.info('KV_parley-sessions')).config.max_bytes).toBe(512 * 1024 * 1024);
    await jsm.streams.update('KV_parley-sessions', { max_bytes: 1_000_000 });
    await jsm.streams.update('AUDIT', { max_age: 30 * 24 * 3600 * 1e9 });
    await jsm.streams.update('REPLAY', { max_bytes: -1, max_age: 0 });
    expect((await applyLayout(jsm)).filter(({ outcome }) => outcome !== 'unchanged')).toEqual([{ name: 'REPLAY', outcome: 'updated', changes: ['max_age', 'max_bytes'] }]);
    expect((await jsm.streams.info('KV_parley-sessions')).config.max_bytes).toBe(1_000_000);
    expect((await jsm.streams.info('AUDIT')).config.max_age).toBe(30 * 24 * 3600 * 1e9);
  });

  test('that does not fit on the server is refused with what it wants', async () => {
    const where = await serverWith(`jetstream { store_dir: "${dir}", max_file: 100MB }`);
    await expect(applyLayout((await handle(where)).jsm)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/AUDIT: the server has not the storage .*max_file/),
    });
  });

  test('keeps the frames of one event stream from driving out those of others, and a message said twice once', async () => {
    const { jsm, js } = await handle((await child()).url);
    await applyLayout(jsm);
    const { max_msgs_per_subject: most } = (await jsm.streams.info('REPLAY')).config;
    expect(most).toBeGreaterThan(1_000);
    await js.publish('parley.replay.anonymous.s1.quiet', 'kept', { msgID: 'quiet-0' });
    expect(await js.publish('parley.replay.anonymous.s1.quiet', 'kept', { msgID: 'quiet-0' })).toMatchObject({ duplicate: true });
    for (let sent = 0; sent < most + 100; sent += 500) {
      await Promise.all(Array.from({ length: 500 }, () => js.publish('parley.replay.anonymous.s1.loud', 'frame')));
    }
    const { state } = await jsm.streams.info('REPLAY', { subjects_filter: '>' });
    expect(state.subjects).toEqual({ 'parley.replay.anonymous.s1.quiet': 1, 'parley.replay.anonymous.s1.loud': most });
  });

  test('makes buckets that keep history, compare and set, and let a key expire with a marker', async () => {
    const { jsm, kv, js, directGet } = await handle((await child()).url);
    await applyLayout(jsm);
    const sessions = await kv('parley-sessions');
    const first = await sessions.create('s1', 'one');
    await sessions.update('s1', 'two', first);
    await expect(sessions.update('s1', 'three', first)).rejects.toMatchObject({ code: 10071 });
    expect((await jsm.streams.info('KV_parley-sessions')).config).toMatchObject({ allow_direct: true, max_msgs_per_subject: 1, allow_msg_ttl: true });
    expect((await directGet('parley-sessions', 's1'))?.string()).toBe('two');
    expect(await directGet('parley-sessions', 's9')).toBeUndefined();
    await expect(directGet('parley-config', 'current')).rejects.toThrow(/allows no direct reads/);

    const expired = Promise.withResolvers<string>();
    const watch = await sessions.watch({ key: 's2' });
    undo.push(async () => watch.stop());
    void (async () => {
      for await (const entry of watch) if (entry.operation !== 'PUT') expired.resolve(entry.operation);
    })();
    await js.publish('$KV.parley-sessions.s2', 'brief', { ttl: '1s' });
    expect(await expired.promise).toBe('PURGE');

    const config = await kv('parley-config');
    for (const value of ['1', '2', '3', '4', '5', '6']) await config.put('current', value);
    const history = [];
    for await (const entry of await config.history({ key: 'current' })) history.push(entry.string());
    expect(history).toEqual(['2', '3', '4', '5', '6']);
  });
});
