/** The clock of a machine is set an hour forward while calls are in flight: deadlines and waits must not notice. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import type { Command } from '../world/command.ts';
import { startServices, type Services } from '../world/services.ts';
import { callModern, modernOf, openLegacy, openStream, rpc, textOf } from '../world/wire.ts';

const SLOW_MS = 3_000;

let services: Services;
let everything: Everything;
let url: string;
let running: Command[];

beforeAll(async () => {
  everything = await startEverything();
  services = await startServices(everything.url, { NODE_OPTIONS: `--import=${new URL('../world/jumping-clock.mjs', import.meta.url).href}` });
  ({ url } = services);
  running = await Promise.all([services.start('session', 'connector'), services.start('ingress')]);
});
afterAll(async () => {
  await services.stop();
  await everything.close();
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
