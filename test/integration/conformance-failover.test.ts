/** The official suite's scenarios about streams, while the process that serves their session is killed in the middle. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { AuditKind } from '#protocol/audit/kinds.ts';
import { runScenario } from '../conformance/suite.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import type { Command } from '../world/command.ts';
import { kill, startServices, type Services } from '../world/services.ts';

const SCENARIO_MS = 60_000;

let services: Services;
let everything: Everything;

beforeAll(async () => {
  everything = await startEverything();
  services = await startServices(everything.url);
  await Promise.all([services.start('connector'), services.start('ingress')]);
});
afterAll(async () => {
  await services.stop();
  await everything.close();
});

/** Of two workers, kills the one that opened the session, without a goodbye, when the audit stream tells of `when`. */
async function killOwnerAt(when: AuditKind): Promise<{ readonly killed: Promise<void> }> {
  const workers = new Map<string, Command>();
  for (let n = 0; n < 2; n += 1) {
    const worker = await services.start('session');
    const [, instance = ''] = /"instance":"([^"]+)"/.exec(await worker.line(/"instance":"session-/)) ?? [];
    workers.set(`parley/${instance}`, worker);
  }
  const { promise: killed, resolve } = Promise.withResolvers<void>();
  let owner: Command | undefined;
  const forget = services.onAudit(({ source, data }) => {
    if (data.kind === 'session_opened') owner = workers.get(source);
    if (data.kind !== when || owner === undefined) return;
    void kill(owner).then(resolve);
  });
  onTestFinished(async () => {
    forget();
    await Promise.all([...workers.values()].map((worker) => worker.stop()));
  });
  return { killed };
}

describe('while the worker that owns its session is killed in the middle', () => {
  test.each([
    ['server-sse-polling', 'call_allowed'],
    ['server-sse-multiple-streams', 'session_opened'],
  ] as const)('the scenario %s passes', async (scenario, when) => {
    const { killed } = await killOwnerAt(when);
    const checks = (await runScenario(services.url, scenario, '2025-11-25', AbortSignal.timeout(SCENARIO_MS))).get(scenario) ?? [];
    await killed;
    const judged = checks.filter(({ status }) => status !== 'INFO');
    expect(judged.map(({ id, status }) => `${id} ${status}`)).toEqual(judged.map(({ id }) => `${id} SUCCESS`));
    expect(judged.length).toBeGreaterThanOrEqual(2);
  });
});
