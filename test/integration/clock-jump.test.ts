/** The clock of a machine is set an hour forward while calls are in flight: deadlines and waits must not notice. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startCommand, type Command } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { freePort } from '../world/port.ts';
import { callModern, modernOf, openLegacy, openStream, rpc, textOf } from '../world/wire.ts';

const SLOW_MS = 3_000;

let nats: NatsWorld;
let everything: Everything;
let folder: string;
let url: string;
const running: Command[] = [];

beforeAll(async () => {
  [nats, everything, folder] = await Promise.all([startNats(), startEverything(), mkdtemp(join(tmpdir(), 'parley-clock-'))]);
  const port = await freePort();
  url = `http://127.0.0.1:${port}/mcp`;
  const config = join(folder, 'config.yaml');
  await writeFile(config, stringify({ mcp: { port, targets: [{ name: 'everything', mcp: { host: everything.url } }] } }));
  const preload = `--import=${new URL('../world/jumping-clock.mjs', import.meta.url).href}`;
  for (const args of [['policy', 'session', 'connector', '-f', config], ['ingress']]) {
    running.push(startCommand(['run', ...args], { NATS_URL: nats.url, NODE_OPTIONS: preload }));
  }
  await Promise.all(running.map((command) => command.line(/^ready after/)));
});
afterAll(async () => {
  await Promise.all(running.map((command) => command.stop()));
  await Promise.all([nats.stop(), everything.close(), rm(folder, { recursive: true, force: true })]);
});

describe('a clock that jumps an hour', () => {
  test('ends no call, no stream and no session', async () => {
    const session = await openLegacy(url);
    expect(await session.call('counter', { key: 'clock' })).toBe('1');
    const slow = { name: 'slow', arguments: { ms: SLOW_MS }, _meta: { progressToken: 'p' } };
    const legacy = await openStream(url, { method: 'POST', headers: session.headers, body: rpc('tools/call', slow, 'legacy') });
    const asked = modernOf('tools/call', { name: 'slow', params: { arguments: { ms: SLOW_MS } }, meta: { progressToken: 'p' }, id: 'modern' });
    const modern = await openStream(url, { method: 'POST', ...asked });
    await Promise.all([legacy, modern].map((stream) => stream.event(({ data }) => data.includes('notifications/progress'))));
    for (const command of running) {
      command.signal('SIGUSR2');
      await command.line(/the clock jumped/);
    }
    const answers = await Promise.all([legacy.answerTo('legacy'), modern.answerTo('modern')]);
    expect(answers.map(textOf)).toEqual([`Waited ${SLOW_MS} ms`, `Waited ${SLOW_MS} ms`]);
    expect(await session.call('counter', { key: 'clock' })).toBe('2');
    expect(await callModern(url, 'echo', { message: 'an hour later' })).toBe('Echo: an hour later');
  });
});
