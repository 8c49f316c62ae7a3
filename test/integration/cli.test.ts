import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runCommand, startCommand } from '../world/command.ts';
import type { Command } from '../world/command.ts';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { startNats } from '../world/nats.ts';
import type { NatsWorld } from '../world/nats.ts';
import { freePort } from '../world/port.ts';

const EXIT = { ok: 0, failed: 1, usage: 2 };

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
  folder = await mkdtemp(join(tmpdir(), 'parley-cli-'));
});

afterEach(async () => {
  await Promise.all([...running].map((command) => command.stop()));
  running.clear();
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the command line', () => {
  test('tells its version and its Node', async () => {
    expect(await runCommand(['--version'])).toMatchObject({ code: EXIT.ok, stdout: expect.stringMatching(/^parley \d+\.\d+\.\d+ \(node \d+\.\d+\.\d+\)\n$/) });
  });

  test.each(['parley', 'parley up', 'parley run', 'parley check', 'parley nats', 'parley nats apply', 'parley tools', 'parley call', 'parley audit', 'parley audit tail'])(
    'has help with an example for `%s`',
    async (command) => {
      const { code, stdout, stderr } = await runCommand([...command.split(' ').slice(1), '--help']);
      expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: '' });
      expect(stdout).toContain(`Usage: ${command} `);
      expect(stdout).toMatch(/Examples?:\n {2}\$ .*parley /);
    },
  );

  test.each([
    [['chek'], 'Did you mean check?'],
    [['nats', 'aply'], 'Did you mean apply?'],
    [['check', '-f', 'x', '--jsn'], 'Did you mean --json?'],
    [['call'], "missing required argument 'tool'"],
    [['check'], "required option '-f, --file <file>' not specified"],
    [['run', 'conector'], 'did you mean connector?'],
    [['run', 'session'], 'parley run needs NATS_URL'],
    [['run', 'session', '-f', 'x.yaml'], 'add policy to the services'],
    [['nats', 'apply'], 'set NATS_URL'],
    [['tools', '--url', 'localhost:3000'], 'Write a whole URL'],
    [['call', 'echo', '{"message": hi}'], 'not valid JSON at position 13'],
    [['call', 'echo', '[]'], 'must be a JSON object'],
    [['audit', 'tail', '--since', 'yesterday'], 'Write a duration'],
    [['audit', 'tail', '--kind', 'call'], 'Allowed choices are'],
    [['audit', 'tail', '--data', '/nowhere'], 'no `parley up` is running on the data directory /nowhere'],
  ])('refuses %j, which it cannot mean', async (args, reason) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect(stderr).toContain(reason);
    expect({ code, stdout }).toEqual({ code: EXIT.usage, stdout: '' });
  });
});

describe('parley check', () => {
  const VALID = 'mcp:\n  port: 3000\n  targets:\n    - name: one\n      mcp: { host: http://localhost:4000/mcp }\n';

  test('accepts a valid configuration', async () => {
    const path = await file('valid.yaml', VALID);
    expect(await runCommand(['check', '-f', path])).toMatchObject({ code: EXIT.ok, stdout: `${path} is valid\n` });
  });

  test('names file, line, column, key and the nearest valid key of a mistake', async () => {
    const path = await file('typo.yaml', VALID.replace('targets', 'tragets'));
    const { code, stdout, stderr } = await runCommand(['check', '-f', path]);
    expect(stdout).toContain(`${path}:3:3 error mcp.tragets: `);
    expect(stdout).toMatch(/did you mean .?targets/);
    expect(stderr).toContain('is not valid');
    expect(code).toBe(EXIT.failed);
  });

  test('gives a script the same as JSON', async () => {
    const path = await file('typo.yaml', VALID.replace('port: 3000', 'port: three'));
    const { code, stdout } = await runCommand(['check', '-f', path, '--json']);
    expect(JSON.parse(stdout)).toEqual([expect.objectContaining({ severity: 'error', file: path, line: 2, column: 3, path: 'mcp.port', message: expect.any(String) })]);
    expect(code).toBe(EXIT.failed);
  });

  test('takes variables from its environment, and names one that is missing', async () => {
    const path = await file('variables.yaml', VALID.replace('http://localhost:4000/mcp', '$UPSTREAM_URL'));
    expect((await runCommand(['check', '-f', path], { UPSTREAM_URL: 'http://localhost:4000/mcp' })).code).toBe(EXIT.ok);
    const missing = await runCommand(['check', '-f', path], { UPSTREAM_URL: undefined });
    expect(missing.stdout).toContain('UPSTREAM_URL is not set');
    expect(missing.code).toBe(EXIT.failed);
  });

  test('says that a file is not there', async () => {
    const { code, stderr, stdout } = await runCommand(['check', '-f', join(folder, 'absent.yaml')]);
    expect(`${stdout}${stderr}`).toContain('absent.yaml');
    expect(code).toBe(EXIT.failed);
  });

  test('accepts the configuration of the demonstration', async () => {
    const path = join(import.meta.dirname, '../../services/cli/default.yaml');
    expect(await runCommand(['check', '-f', path], { PARLEY_NODE: 'node', PARLEY_EVERYTHING: 'index.js' })).toMatchObject({ code: EXIT.ok });
  });
});

describe.each(['legacy', 'modern'] as const)('the client of the %s era', (era) => {
  let server: Everything;
  beforeAll(async () => {
    server = await startEverything({ era });
  });
  afterAll(() => server.close());

  test('finds the era out, and lists and calls tools', async () => {
    const tools = await runCommand(['tools', '--url', server.url, '--json']);
    expect(tools.stderr).toContain(`${era} era`);
    const names = (JSON.parse(tools.stdout) as { name: string }[]).map((tool) => tool.name);
    expect(names).toContain('test_simple_text');
    expect(await runCommand(['call', 'test_simple_text', '--url', server.url])).toMatchObject({ code: EXIT.ok, stdout: expect.stringMatching(/\S/) });
  });

  test('ends with 1 when the tool answers with an error', async () => {
    const { code, stderr } = await runCommand(['call', 'test_error_handling', '--url', server.url]);
    expect(stderr).toContain('the tool test_error_handling answered with an error');
    expect(code).toBe(EXIT.failed);
  });

  test('names the tool that was meant', async () => {
    const { code, stderr } = await runCommand(['call', 'test_simpel_text', '--url', server.url]);
    expect(stderr).toContain('did you mean test_simple_text?');
    expect(code).toBe(EXIT.failed);
  });

  test('does not speak the other era when told to insist', async () => {
    const other = era === 'legacy' ? 'modern' : 'legacy';
    const { code, stderr } = await runCommand(['tools', '--url', server.url, '--era', other]);
    expect(stderr).toContain('error:');
    expect(code).toBe(EXIT.failed);
  });
});

test('a client with nobody to talk to asks whether `parley up` runs', async () => {
  const { code, stderr } = await runCommand(['tools', '--url', `http://127.0.0.1:${await freePort()}/mcp`]);
  expect(stderr).toContain('connection refused; is `parley up` running?');
  expect(code).toBe(EXIT.failed);
});

describe('a NATS server', () => {
  let nats: NatsWorld;
  beforeAll(async () => {
    nats = await startNats();
  });
  afterAll(() => nats.stop());

  test('that stands alone refuses to keep three copies', async () => {
    const { code, stderr } = await runCommand(['nats', 'apply', '--replicas', '3'], { NATS_URL: nats.url });
    expect(stderr).toMatch(/error: .*replicas/);
    expect(code).toBe(EXIT.failed);
  });

  test('gets the layout once, and a second apply finds it unchanged', async () => {
    const first = await runCommand(['nats', 'apply'], { NATS_URL: nats.url });
    expect(first.stdout).toMatch(/^AUDIT +created +-$/m);
    const second = await runCommand(['nats', 'apply'], { NATS_URL: nats.url });
    expect(second.stdout).toMatch(/^AUDIT +unchanged +-$/m);
    expect(second.stdout).not.toContain('created');
    expect([first.code, second.code]).toEqual([EXIT.ok, EXIT.ok]);
  });

  test('is followed by the audit tail: from the past, by kind, until it is told to stop', async () => {
    await runCommand(['nats', 'apply'], { NATS_URL: nats.url });
    const connection = await connect({ servers: nats.url });
    const js = jetstream(connection);
    const publish = (kind: string, tool: string) => js.publish(`audit.${kind}._._`, JSON.stringify(auditEvent(kind, tool)));
    await publish('call_completed', 'past');
    await publish('call_denied', 'other');
    const all = start(['audit', 'tail', '--since', '1h'], { NATS_URL: nats.url });
    const denied = start(['audit', 'tail', '--kind', 'call_denied', '--json'], { NATS_URL: nats.url });
    expect(await all.line(/tool=past/)).toContain('call_completed');
    await denied.line(/listening to/);
    await publish('call_completed', 'present');
    await publish('call_denied', 'last');
    await connection.close();
    expect(JSON.parse(await denied.line(/"last"/))).toMatchObject({ type: 'parley.audit.call_denied' });
    await all.line(/tool=present/);
    all.signal('SIGINT');
    expect((await all.ended).code).toBe(EXIT.ok);
    const kept = await denied.stop();
    expect(kept.code).toBe(EXIT.ok);
    expect(kept.stdout.trim().split('\n')).toHaveLength(1);
  });
});

describe('a start that cannot succeed', () => {
  test('ends before anything runs when the configuration is not valid', async () => {
    const path = await file('wrong.yaml', 'mcp:\n  prot: 3000\n  targets: []\n');
    const { code, stdout, stderr } = await runCommand(['up', '--data', join(folder, 'never'), '-f', path]);
    expect(stderr).toContain(`${path}:2:3 error mcp.prot: `);
    expect(stderr).not.toContain('nats-server');
    expect({ code, stdout }).toEqual({ code: EXIT.failed, stdout: '' });
  });

  test('ends when NATS does not come up in the time it is given', async () => {
    const nowhere = `nats://127.0.0.1:${await freePort()}`;
    const { code, stderr } = await runCommand(['run', 'session'], { NATS_URL: nowhere, PARLEY_NATS_WAIT: '1s' });
    expect(stderr).toContain(`NATS at ${nowhere} did not come up within 1 s`);
    expect(code).toBe(EXIT.failed);
  });

  test('can be stopped while it waits for NATS', async () => {
    const run = start(['run', 'session'], { NATS_URL: `nats://127.0.0.1:${await freePort()}` });
    await run.line(/not reachable/);
    run.signal('SIGINT');
    expect((await run.ended).code).toBe(EXIT.ok);
  });
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('a second %s ends at once what does not stop', async (signal, code) => {
  const module = JSON.stringify(new URL('../../services/cli/runtime/until-signal.ts', import.meta.url).href);
  const script = `import { untilSignal } from ${module}; await untilSignal((stop) => { stop.onabort = () => console.log('asked'); console.log('works'); return new Promise(() => setInterval(() => {}, 1e6)); });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  await once(lines, 'line');
  child.kill(signal);
  await once(lines, 'line');
  const asked = performance.now();
  // Copies of the same key press do not count; one that comes later does.
  const again = setInterval(() => child.kill(signal), 50);
  expect(await ended).toEqual([code, null]);
  clearInterval(again);
  expect(performance.now() - asked).toBeGreaterThan(400);
});

const auditEvent = (kind: string, tool: string) => ({
  specversion: '1.0',
  id: `test-${tool}`,
  source: 'parley/test',
  type: `parley.audit.${kind}`,
  time: new Date().toISOString(),
  datacontenttype: 'application/json',
  data: { kind, principal: 'anonymous', tool },
});
