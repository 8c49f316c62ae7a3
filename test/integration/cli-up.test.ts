import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { runCommand, startCommand } from '../world/command.ts';
import type { Command } from '../world/command.ts';
import { freePort } from '../world/port.ts';

const EXIT = { ok: 0, failed: 1 };

let folder: string;
const running = new Set<Command>();

const start = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Command => {
  const command = startCommand(args, env);
  running.add(command);
  return command;
};

const file = async (name: string, text: string): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-up-'));
});

afterEach(async () => {
  await Promise.all([...running].map((command) => command.stop()));
  running.clear();
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('parley up', () => {
  let server: Everything;
  let data: string;
  let url: string;
  let up: Command;
  let ready: string;
  beforeAll(async () => {
    server = await startEverything();
    data = join(folder, 'data');
    const port = await freePort();
    url = `http://localhost:${port}/mcp`;
    up = startCommand(['up', '--data', data, '-f', await file('up.yaml', `mcp:\n  port: ${port}\n  targets:\n    - name: fixture\n      mcp: { host: ${server.url} }\n`)]);
    ready = await up.line(/^ready after/);
  });
  afterAll(async () => {
    await up.stop();
    await server.close();
  });

  test('says what it does while it starts, and shows listeners, routes, targets and NATS when it is ready', async () => {
    await up.line(/^starting nats-server \d+\.\d+\.\d+ /);
    expect(await up.line(/^nats /)).toMatch(/^nats +nats:\/\/127\.0\.0\.1:\d+ +embedded nats-server \d+\.\d+\.\d+$/);
    expect(await up.line(/http:\/\/localhost:\d+ /)).toContain(new URL(url).origin);
    expect(await up.line(/ fixture /)).toMatch(/ fixture +mcp +ready +\d+ +\S/);
    expect(ready).toMatch(/^ready after \d+\.\d s$/);
  });

  test.each(['auto', 'legacy', 'modern'])('serves tools and calls to a client of era %s', async (era) => {
    const tools = await runCommand(['tools', '--url', url, '--era', era, '--json']);
    expect(tools).toMatchObject({ code: EXIT.ok, stdout: expect.stringContaining('"test_simple_text"') });
    const direct = await runCommand(['call', 'test_simple_text', '--url', server.url, '--era', era]);
    expect(await runCommand(['call', 'test_simple_text', '--url', url, '--era', era])).toMatchObject({ code: EXIT.ok, stdout: direct.stdout });
  });

  test('tells a second terminal what it does: the audit tail finds it by its data directory', async () => {
    const tail = start(['audit', 'tail', '--data', data, '--kind', 'call_completed', '--since', '1h']);
    await tail.line(/listening to/);
    await runCommand(['call', 'test_simple_text', '--url', url]);
    expect(await tail.line(/call_completed .*tool=test_simple_text/)).toMatch(/^\S+Z call_completed +\d+\.\dms .*target=fixture .*principal=anonymous/);
  });

  test('keeps its data directory to itself', async () => {
    const { code, stderr } = await runCommand(['up', '--data', data, '-f', join(folder, 'up.yaml')]);
    expect(stderr).toContain(`the data directory ${data} is in use`);
    expect(code).toBe(EXIT.failed);
  });

  test('ends with 0 when it is asked to, and its nats-server with it', async () => {
    const [natsUrl = ''] = /nats:\/\/\S+/.exec(await up.line(/^nats /)) ?? [];
    up.signal('SIGTERM');
    const { code, stderr } = await up.ended;
    expect(stderr).toContain('parley: SIGTERM, stopping');
    expect(stderr).not.toContain('something is still open');
    expect(code).toBe(EXIT.ok);
    await expect(connect({ servers: natsUrl })).rejects.toThrow();
  });
});

test('parley up serves the demonstration from its default configuration', async () => {
  const demonstration = await readFile(join(import.meta.dirname, '../../services/cli/default.yaml'), 'utf8');
  const port = await freePort();
  const up = start(['up', '--data', join(folder, 'demonstration'), '-f', await file('demonstration.yaml', demonstration.replace('port: 3000', `port: ${port}`))], {
    PARLEY_NODE: process.execPath,
    PARLEY_EVERYTHING: createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js'),
  });
  expect(await up.line(/ everything /)).toMatch(/ everything +stdio +ready +\d+ +legacy/);
  const call = await runCommand(['call', 'echo', '{"message":"hi"}', '--url', `http://localhost:${port}/mcp`]);
  expect(call).toMatchObject({ code: EXIT.ok, stdout: 'Echo: hi\n' });
});
