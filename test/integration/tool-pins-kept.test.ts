/** Who keeps the pins of tools (toolPinning): two replicas, while NATS is without them, of each caller, and of a server that is a process. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { applyLayout } from '#deploy/nats/apply.ts';
import { PINS_BUCKET } from '#protocol/records/tool-pins.ts';
import type { Changing } from '../fixtures/changing/main.ts';
import { ABC, APPROVED_WITHIN_MS, type PinnedShape, Pinning, tool } from '../world/pinning.ts';
import { type ParleyWorld, eventually } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type ToolClient, connectTools, namesOf, unknownTool } from '../world/tool-client.ts';
import { textOf } from '../world/wire.ts';

let pinning: Pinning;
beforeAll(async () => {
  pinning = await Pinning.open();
});
afterEach(() => pinning.endTest());
afterAll(() => pinning?.close());

describe('on two replicas', () => {
  const HOSTS = ['127.0.0.1', '127.0.0.2'] as const;
  const urls = () => HOSTS.map((host) => `http://${host}:${pinning.port}/mcp`);

  async function two(behind: Pick<Changing, 'url'>, mode: PinnedShape['mode']): Promise<void> {
    pinning.newBackend();
    const config = pinning.configOf({ t: behind }, { mode });
    await Promise.all(HOSTS.map((host) => pinning.parley(config, host)));
  }

  test('both refuse what one has seen, and both serve what was approved of, within a second', async () => {
    const behind = await pinning.server();
    await two(behind, 'enforce');
    const clients = await Promise.all(urls().map((url) => connectTools(url, 'modern')));
    for (const client of clients) expect(textOf(await client.call('b'))).toBe('called b');
    behind.show([tool('a'), tool('b', 'other'), tool('c')]);
    await clients[0]?.list();
    for (const client of clients) await expect.poll(async () => (await client.call('b'))?.error, { timeout: APPROVED_WITHIN_MS }).toEqual(unknownTool('b'));
    await pinning.untilTold('tool_changed');
    expect((await pinning.approve(`${pinning.backend}/t`, 'b')).code).toBe(0);
    for (const client of clients) await expect.poll(async () => textOf(await client.call('b')), { timeout: APPROVED_WITHIN_MS }).toBe('called b');
    expect(pinning.told('tool_changed')).toHaveLength(1);
  });

  test('that see a target first at the same time, one pins it and the other goes by that', async () => {
    // It is there only when both have started, so that neither has looked at it before.
    const target = await freePort();
    const absent = { url: `http://127.0.0.1:${target}/mcp` };
    await two(absent, 'enforce');
    await pinning.server(ABC, target);
    const called = await Promise.all([...urls(), ...urls(), ...urls(), ...urls()].map(async (url) => (await connectTools(url, 'modern')).call('a')));
    expect(called.map(textOf)).toEqual(called.map(() => 'called a'));
    expect(await pinning.untilTold('tools_pinned')).toMatchObject([{ target: 't', reason: '3 tools' }]);
    expect(pinning.told('tool_changed')).toEqual([]);
  });
});

describe('while the pins cannot be reached', () => {
  async function withoutBucket(): Promise<{ readonly behind: Changing; readonly world: ParleyWorld; readonly later: () => Promise<void> }> {
    const target = await freePort();
    const world = await pinning.gateway({ t: { url: `http://127.0.0.1:${target}/mcp` } }, { mode: 'enforce' });
    await world.host.nats.jsm.streams.delete(`KV_${PINS_BUCKET}`);
    const behind = await pinning.server(ABC, target);
    return { behind, world, later: async () => void (await applyLayout(world.host.nats.jsm)) };
  }

  test('what is not known is not served, and is as soon as they can', async () => {
    const { behind, world: { url }, later } = await withoutBucket();
    const client = await connectTools(url, 'modern');
    expect((await client.call('a'))?.error?.message).toBe(`the bucket ${PINS_BUCKET} cannot be reached`);
    await expect(client.list()).rejects.toThrow(`the bucket ${PINS_BUCKET} cannot be reached`);
    expect(behind.calls).toBe(0);
    expect(await pinning.untilTold('pins_unavailable')).toMatchObject([{ target: 't', reason: `the bucket ${PINS_BUCKET} cannot be reached` }]);
    await later();
    await eventually('a call', async () => textOf(await client.call('a')));
    expect(await namesOf(client)).toEqual(['a', 'b', 'c']);
  });

  test('with a warning all of it is served, and told of', async () => {
    const { behind, world, later } = await withoutBucket();
    await world.replace(pinning.configOf({ t: behind }, { mode: 'warn' }));
    const client = await connectTools(world.url, 'modern');
    expect(await namesOf(client)).toEqual(['a', 'b', 'c']);
    expect(textOf(await client.call('a'))).toBe('called a');
    await pinning.untilTold('pins_unavailable');
    await later();
  });

  test('what is known is served, and what changes is refused and told of at once', async () => {
    const behind = await pinning.server();
    const world = await pinning.gateway({ t: behind }, { mode: 'enforce' });
    await pinning.pinned();
    const client = await connectTools(world.url, 'modern');
    expect(textOf(await client.call('b'))).toBe('called b');
    await world.host.nats.jsm.streams.delete(`KV_${PINS_BUCKET}`);
    behind.show([tool('a', 'other'), tool('b'), tool('c')]);
    expect(await namesOf(client)).toEqual(['b', 'c']);
    expect(textOf(await client.call('b'))).toBe('called b');
    expect((await client.call('a'))?.error).toEqual(unknownTool('a'));
    expect(await pinning.untilTold('tool_changed')).toMatchObject([{ tool: 'a' }]);
    await applyLayout(world.host.nats.jsm);
  });
});

test('a server that shows each caller something else has changed for all', async () => {
  const behind = await pinning.server();
  const { url } = await pinning.gateway({ t: behind }, { mode: 'enforce', auth: { passthrough: {} } });
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((token) => connectTools(url, 'modern', { authorization: `Bearer ${token}` })));
  expect(await namesOf(alice as ToolClient)).toEqual(['a', 'b', 'c']);
  behind.show([tool('a', 'for bob'), tool('b'), tool('c')], 'bob');
  expect(await namesOf(bob as ToolClient)).toEqual(['b', 'c']);
  expect((await alice?.call('a'))?.error).toEqual(unknownTool('a'));
  expect(textOf(await alice?.call('b'))).toBe('called b');
});

describe('a server that is a process', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parley-pins-'));
    pinning.undo(() => rm(folder, { recursive: true, force: true }));
  });

  test('is held to its pins over its restarts, by whichever session has it started', async () => {
    const file = join(folder, 'tools.json');
    await writeFile(file, JSON.stringify(ABC));
    pinning.newBackend();
    const stdio = { cmd: process.execPath, args: [join(import.meta.dirname, '../fixtures/changing/main.ts'), file] };
    const { url } = await pinning.parley(pinning.routed({ mcp: { targets: [{ name: 't', stdio, policies: { toolPinning: 'enforce' } }] } }));
    await pinning.pinned();
    const first = await connectTools(url, 'legacy');
    expect(textOf(await first.call('b'))).toBe('called b');
    await writeFile(file, JSON.stringify([tool('a'), tool('b', 'other')]));
    const second = await connectTools(url, 'legacy');
    expect(await namesOf(second)).toEqual(['a']);
    expect((await first.call('b'))?.error).toEqual(unknownTool('b'));
    expect(await namesOf(await connectTools(url, 'modern'))).toEqual(['a']);
    expect(await pinning.untilTold('tool_changed')).toMatchObject([{ target: 't', tool: 'b' }]);
  });
});
