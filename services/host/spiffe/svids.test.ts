import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../test/world/certificates.ts';
import { type WorkloadApi, startWorkloadApi, svidOf } from '../../../test/world/workload-api.ts';
import { createLog } from '../telemetry/log.ts';
import { Svids } from './svids.ts';

const [A, B] = ['spiffe://td.test/a', 'spiffe://td.test/b'] as const;
const WITHIN_MS = 5_000;
const authority = makeAuthority();

let folder: string;
let socket: string;
let agent: WorkloadApi | undefined;
let svids: Svids;
let aheadMs: number;
let lines: string[];
let outcomes: unknown[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-spiffe-'));
  socket = join(folder, 'agent.sock');
  [aheadMs, lines, outcomes] = [0, [], []];
  const log = createLog({ level: 'info', format: 'json', sink: { write: (line: string) => void lines.push(line) } });
  svids = new Svids({ log, now: () => Date.now() + aheadMs, updates: { add: (_one, labels) => void outcomes.push(labels?.['outcome']) } });
});
afterEach(async () => {
  svids.close();
  await agent?.stop();
  agent = undefined;
  await rm(folder, { recursive: true, force: true });
});

const start = async (id: string): Promise<WorkloadApi> => (agent = await startWorkloadApi(socket, svidOf(authority, id)));

/** Resolves at the first news after which `holds`. */
const until = (holds: () => boolean): Promise<void> =>
  new Promise((resolve) => {
    const stop = svids.onChange(() => {
      if (!holds()) return;
      stop();
      resolve();
    });
  });

describe('our SVID', () => {
  test('is fetched when somebody needs it, and replaced while the process runs', async () => {
    const { endpoint, give } = await start(A);
    svids.follow(endpoint);
    expect(outcomes).toEqual([]);
    expect((await svids.ready(WITHIN_MS)).id).toBe(A);
    const rotated = until(() => svids.current.id === B);
    give(svidOf(authority, B));
    await rotated;
    expect(svids.usable).toBe(true);
    expect(outcomes).toEqual(['taken', 'taken']);
    expect(lines.join('')).not.toContain('PRIVATE KEY');
  });

  test('counts while the agent is away, until it ends, and is another when the agent is back', async () => {
    const { endpoint } = await start(A);
    svids.follow(endpoint);
    await svids.ready(WITHIN_MS);
    const away = until(() => outcomes.includes('unavailable'));
    await agent?.stop();
    await away;
    expect(svids.current.id).toBe(A);
    expect(lines.at(-1)).toContain('the last SVID is used until it ends');
    aheadMs = 25 * 3600_000;
    expect(svids.usable).toBe(false);
    expect(() => svids.current).toThrow(/^the SVID has ended, and there is no new one: the SPIFFE Workload API at .* gives nothing: /);
    await expect(svids.ready(WITHIN_MS)).rejects.toThrow('the SVID has ended');
    aheadMs = 0;
    const back = until(() => svids.current.id === B);
    await start(B);
    await back;
  });

  test('stays what it was when an answer cannot be used', async () => {
    const { endpoint, give } = await start(A);
    svids.follow(endpoint);
    await svids.ready(WITHIN_MS);
    const told = until(() => outcomes.includes('unusable'));
    give({ ...svidOf(authority, B), bundle: Buffer.from('planted') });
    await told;
    expect(svids.current.id).toBe(A);
    expect(lines.at(-1)).toContain('the trust bundle cannot be read');
    expect(lines.at(-1)).not.toContain('planted');
  });

  test('is not there without an agent, and nobody waits for what is known', async () => {
    svids.follow(`unix://${socket}`);
    await expect(svids.ready(WITHIN_MS)).rejects.toThrow(/gives nothing: UNAVAILABLE$/);
    await expect(svids.ready(WITHIN_MS)).rejects.toMatchObject({ code: 'upstream' });
    const there = until(() => svids.usable);
    await start(A);
    await there;
  });

  test('is not there for whom the agent does not know', async () => {
    agent = await startWorkloadApi(socket);
    svids.follow(agent.endpoint);
    await expect(svids.ready(WITHIN_MS)).rejects.toThrow(/gives nothing: PERMISSION_DENIED$/);
  });

  test('is not there when nobody has said where the agent is, and of the old agent no more when that has moved', async () => {
    await expect(svids.ready(WITHIN_MS)).rejects.toThrow('set config.spiffe.endpoint or SPIFFE_ENDPOINT_SOCKET');
    const { endpoint } = await start(A);
    svids.follow(endpoint);
    expect((await svids.ready(WITHIN_MS)).id).toBe(A);
    svids.follow(undefined);
    expect(svids.usable).toBe(false);
    expect(() => svids.current).toThrow('nobody has said where');
  });
});
