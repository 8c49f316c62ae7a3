/** Servers as child processes that misbehave: a definite answer for whoever called, nothing for anybody else, and no process left behind. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { FLOOD_COUNT, type Mood } from '../fixtures/misbehaving/moods.ts';
import { startCommand } from '../world/command.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { childrenOf, isRunning } from '../world/processes.ts';
import { callOf, initializeOf, openLegacy, rpc, send, sendModern, textOf, type Told } from '../world/wire.ts';

const PROGRAM = join(import.meta.dirname, '../fixtures/misbehaving/stdio.ts');
const TIMEOUT_MS = 1_500;

const target = (name: string, stdio: object, timeout?: string): object => ({
  name,
  stdio,
  ...(timeout === undefined ? {} : { policies: { http: { requestTimeout: timeout } } }),
});
const program = (...flags: string[]): object => ({ cmd: process.execPath, args: [PROGRAM, ...flags] });
const route = (name: string, stdio: object, timeout?: string): object => ({
  name,
  matches: [{ path: { exact: `/${name}` } }],
  backends: [{ mcp: { targets: [target(name, stdio, timeout)] } }],
});

let parley: ParleyWorld;
const url = (name: string): string => new URL(`/${name}`, parley.url).href;

beforeAll(async () => {
  const routes = [
    route('bad', program()),
    route('limited', program(), `${TIMEOUT_MS}ms`),
    route('greeting', program('--greet')),
    route('dead', program('--die-at-start')),
    route('deaf', program('--deaf'), `${TIMEOUT_MS}ms`),
    route('missing', { cmd: '/no/such/program' }),
    route('stubborn', program('--stubborn')),
  ];
  parley = await startParley({ config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] } });
});
afterAll(() => parley?.stop());

const ask = async (era: 'legacy' | 'modern', name: string, tool: Mood, args: object = {}): Promise<Told> => {
  if (era === 'modern') return sendModern(url(name), 'tools/call', { name: tool, params: { arguments: args } });
  return (await openLegacy(url(name))).send(callOf(tool, args));
};

describe.each(['legacy', 'modern'] as const)('to a %s client, a child that', (era) => {
  test('prints words between its messages is understood all the same', async () => {
    expect(textOf((await ask(era, 'bad', 'garbage')).json)).toBe('garbage');
  });

  test('greets on stdout before it serves is understood all the same', async () => {
    expect(textOf((await ask(era, 'greeting', 'echo', { message: 'hi' })).json)).toBe('hi');
  });

  test.each<[string, Mood]>([
    ['answers another request than the one asked', 'wrong_id'],
    ['never answers', 'hang'],
    ['stops reading', 'deaf'],
  ])('%s is a timeout after the time its target is given', async (_what, mood) => {
    const { json } = await ask(era, 'limited', mood);
    expect(json?.error).toEqual({ code: era === 'legacy' ? -32_001 : -32_603, message: `limited did not answer tools/call within ${TIMEOUT_MS} ms` });
  });

  test('answers with more than 8 MiB is an error that says so, and goes on serving', async () => {
    const { json } = await ask(era, 'bad', 'huge');
    expect(json).toMatchObject({ id: 1, error: { code: -32_603, message: 'bad answered with more than 8388608 bytes' } });
    expect(textOf((await ask(era, 'bad', 'echo', { message: 'on' })).json)).toBe('on');
  });

  test.each<[string, Mood]>([
    ['dies during a call', 'die'],
    ['dies during a call and leaves a child of its own behind', 'die_with_child'],
  ])('%s is an error at once, and is there again for the next call', async (_what, mood) => {
    const { json } = await ask(era, 'bad', mood);
    expect(json).toMatchObject({ id: 1, error: { code: -32_603, message: 'bad exited with code 3' } });
    expect(textOf((await ask(era, 'bad', 'echo', { message: 'again' })).json)).toBe('again');
  });

  test.each([
    ['cannot be started', 'missing', /^missing cannot be started: spawn \S+ ENOENT$/],
    ['exits at its start', 'dead', /^dead exited with code 1$/],
  ])('%s is an error that says so', async (_what, name, words) => {
    const { json } = era === 'legacy' ? await send(url(name), { body: initializeOf() }) : await sendModern(url(name), 'tools/list');
    if (era === 'modern' && name === 'dead') expect(json?.error?.code).toBe(-32_022);
    else expect(json?.error).toMatchObject({ code: -32_603, message: expect.stringMatching(words) });
  });

  test('floods its caller with notifications is heard to the end, in order', async () => {
    const meta = { progressToken: 'p', 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} };
    const params = { name: 'flood', arguments: {}, _meta: era === 'modern' ? meta : { progressToken: 'p' } };
    const session = era === 'legacy' ? await openLegacy(url('bad')) : undefined;
    const headers = session?.headers ?? { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'flood' };
    const { text } = await send(url('bad'), { headers, body: rpc('tools/call', params, 'flood') });
    const progress = [...text.matchAll(/"progress":(\d+)/g)].map(([, n]) => Number(n));
    expect(progress).toEqual(Array.from({ length: FLOOD_COUNT }, (_, n) => n + 1));
    expect(text).toContain('"progressToken":"p"');
    expect(text).toContain('"id":"flood"');
  });
});

describe('a legacy session with a child', () => {
  test('that dies is initialized again with the next child, and keeps its level', async () => {
    const session = await openLegacy(url('bad'));
    await session.send(rpc('logging/setLevel', { level: 'debug' }));
    const first = await session.call('pid');
    expect((await session.send(callOf('die'))).json?.error?.message).toBe('bad exited with code 3');
    const second = await session.call('pid');
    expect(second).toMatch(/^\d+$/);
    expect(second).not.toBe(first);
  });

  test('has it alone: what happens to one does not happen to another', async () => {
    const [one, two] = await Promise.all([openLegacy(url('bad')), openLegacy(url('bad'))]);
    const [first, second] = await Promise.all([one.call('pid'), two.call('pid')]);
    expect(first).not.toBe(second);
    await one.send(callOf('die'));
    expect(await two.call('pid')).toBe(second);
  });

  test('that never reads is a timeout for its initialize', async () => {
    const { json } = await send(url('deaf'), { body: initializeOf() });
    expect(json?.error).toEqual({ code: -32_001, message: 'deaf did not answer initialize in time' });
  });

  test('leaves no process when it is closed, even if the child ignores what it is told and has children', async () => {
    const session = await openLegacy(url('stubborn'));
    const pid = Number(await session.call('pid'));
    const [grandchild = 0] = await eventually('the child of the child', async () => {
      const found = await childrenOf(pid);
      return found.length > 0 ? found : undefined;
    });
    expect([await isRunning(pid), await isRunning(grandchild)]).toEqual([true, true]);
    expect((await session.end()).status).toBe(204);
    await eventually('both to be gone', async () => ((await isRunning(pid)) || (await isRunning(grandchild)) ? undefined : true));
    expect(await childrenOf(process.pid)).not.toContain(pid);
  });
});

test('what a child writes to stderr is in the debug log under its target, and no child runs once Parley was told to stop', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'parley-stderr-'));
  const port = await freePort();
  const config = join(folder, 'config.yaml');
  await writeFile(config, stringify({ mcp: { port, targets: [target('talker', program())] } }));
  const up = startCommand(['up', '-f', config, '--data', join(folder, 'data')], { PARLEY_LOG_LEVEL: 'debug', PARLEY_LOG_FORMAT: 'json' });
  try {
    await up.line(/^ready after/);
    const session = await openLegacy(`http://127.0.0.1:${port}/mcp`);
    const pid = Number(await session.call('pid'));
    await session.call('stderr');
    expect(JSON.parse(await up.line(/words for the log/))).toMatchObject({ level: 'debug', target: 'talker', msg: 'words for the log' });
    up.signal('SIGTERM');
    expect((await up.ended).code).toBe(0);
    expect(await isRunning(pid)).toBe(false);
  } finally {
    await up.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
