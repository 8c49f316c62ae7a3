/** The official suite's scenarios about streams, while the process that serves their session is killed in the middle. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { auditEvent } from '#protocol/audit/event.ts';
import type { AuditKind } from '#protocol/audit/kinds.ts';
import { runScenario } from '../conformance/suite.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startCommand, type Command } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { freePort } from '../world/port.ts';

const SCENARIO_MS = 60_000;

let nats: NatsWorld;
let bare: NatsConnection;
let everything: Everything;
let folder: string;
let url: string;
const running: Command[] = [];

async function start(args: readonly string[]): Promise<Command> {
  const command = startCommand(args, { NATS_URL: nats.url });
  running.push(command);
  await command.line(/^ready after/);
  return command;
}

beforeAll(async () => {
  [nats, everything, folder] = await Promise.all([startNats(), startEverything(), mkdtemp(join(tmpdir(), 'parley-conformance-failover-'))]);
  bare = await connect({ servers: nats.url });
  const port = await freePort();
  url = `http://127.0.0.1:${port}/mcp`;
  const config = join(folder, 'config.yaml');
  await writeFile(config, stringify({ mcp: { port, targets: [{ name: 'everything', mcp: { host: everything.url } }] } }));
  await start(['run', 'policy', '-f', config]);
  await Promise.all([start(['run', 'connector']), start(['run', 'ingress'])]);
});
afterAll(async () => {
  await Promise.all(running.map((command) => command.stop()));
  await bare.close();
  await Promise.all([nats.stop(), everything.close(), rm(folder, { recursive: true, force: true })]);
});

/** Of two workers, kills the one that opened the session, without a goodbye, when the audit stream tells of `when`. */
async function killOwnerAt(when: AuditKind): Promise<{ readonly killed: Promise<void> }> {
  const workers = new Map<string, Command>();
  for (let n = 0; n < 2; n += 1) {
    const worker = await start(['run', 'session']);
    const [, instance = ''] = /"instance":"([^"]+)"/.exec(await worker.line(/"instance":"session-/)) ?? [];
    workers.set(`parley/${instance}`, worker);
  }
  const { promise: killed, resolve } = Promise.withResolvers<void>();
  let owner: Command | undefined;
  const events = bare.subscribe('audit.>', {
    callback: (_error, message) => {
      const { source, data } = auditEvent.parse(message.json());
      if (data.kind === 'session_opened') owner = workers.get(source);
      if (data.kind !== when || owner === undefined) return;
      owner.signal('SIGKILL');
      void owner.ended.then(() => resolve());
    },
  });
  onTestFinished(async () => {
    events.unsubscribe();
    await Promise.all([...workers.values()].map((worker) => worker.stop()));
  });
  await bare.flush();
  return { killed };
}

describe('while the worker that owns its session is killed in the middle', () => {
  test.each([
    ['server-sse-polling', 'call_allowed'],
    ['server-sse-multiple-streams', 'session_opened'],
  ] as const)('the scenario %s passes', async (scenario, when) => {
    const { killed } = await killOwnerAt(when);
    const checks = (await runScenario(url, scenario, '2025-11-25', AbortSignal.timeout(SCENARIO_MS))).get(scenario) ?? [];
    await killed;
    const judged = checks.filter(({ status }) => status !== 'INFO');
    expect(judged.map(({ id, status }) => `${id} ${status}`)).toEqual(judged.map(({ id }) => `${id} SUCCESS`));
    expect(judged.length).toBeGreaterThanOrEqual(2);
  });
});
