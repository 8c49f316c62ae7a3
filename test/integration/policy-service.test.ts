import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as Effect from 'effect/Effect';
import * as Exit from 'effect/Exit';
import * as Scope from 'effect/Scope';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openHost } from '#host/open.ts';
import type { OpenedHost } from '#host/open.ts';
import { readSettings } from '#host/settings.ts';
import { policySchemas } from '#policies/order.ts';
import { type Generation, mcpBackends } from '#protocol/config/generation.ts';
import { CONFIG_BUCKET, CONFIG_KEY, configRecord } from '#protocol/records/config.ts';
import type { ConfigRecord } from '#protocol/records/config.ts';
import { policyService } from '../../services/policy/main.ts';
import type { PolicyServiceOptions } from '../../services/policy/main.ts';
import { startNats } from '../world/nats.ts';
import type { NatsWorld } from '../world/nats.ts';

let world: NatsWorld;
let directory: string;
let file: string;
const scopes: Scope.Closeable[] = [];

beforeAll(async () => {
  world = await startNats();
});
afterAll(() => world.stop());

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'parley-policy-'));
  file = join(directory, 'config.yaml');
});

afterEach(async () => {
  for (const scope of scopes.splice(0).toReversed()) await Effect.runPromise(Scope.close(scope, Exit.void));
  const host = await openProcess();
  await (await host.nats.kv(CONFIG_BUCKET)).purge(CONFIG_KEY);
  for (const scope of scopes.splice(0)) await Effect.runPromise(Scope.close(scope, Exit.void));
  await rm(directory, { recursive: true, force: true });
});

/** One process of the cluster, with its own environment. */
async function openProcess(env: Record<string, string> = {}): Promise<OpenedHost> {
  const scope = await Effect.runPromise(Scope.make());
  scopes.push(scope);
  const settings = readSettings({ ...env, PARLEY_LOG_LEVEL: 'silent', PARLEY_STATS_ADDR: 'off' });
  return Effect.runPromise(Scope.provide(openHost({ role: 'policy', settings, natsUrl: world.url, env, policies: policySchemas }), scope));
}

async function startPolicy(host: OpenedHost, options: PolicyServiceOptions): Promise<() => Promise<void>> {
  const scope = await Effect.runPromise(Scope.make());
  scopes.push(scope);
  await Effect.runPromise(Scope.provide(policyService(options).start(host) as Effect.Effect<void, unknown, Scope.Scope>, scope));
  return () => Effect.runPromise(Scope.close(scope, Exit.void));
}

const generationWhere = (host: OpenedHost, wanted: (generation: Generation) => boolean): Promise<Generation> =>
  new Promise((resolve) => {
    const stop = host.generations.onChange((generation) => {
      if (!wanted(generation)) return;
      queueMicrotask(() => stop());
      resolve(generation);
    });
  });

const servesPort = (port: number) => (generation: Generation) => generation.binds.some((bind) => bind.port === port);
const onPort = (port: number | string, more = ''): string => `mcp:\n  port: ${port}\n${more}  targets:\n    - name: one\n      stdio: {cmd: server}\n`;

async function stored(host: OpenedHost): Promise<{ record: ConfigRecord; revision: number } | undefined> {
  const entry = await (await host.nats.kv(CONFIG_BUCKET)).get(CONFIG_KEY);
  return entry === null || entry.operation !== 'PUT' ? undefined : { record: configRecord.parse(entry.json()), revision: entry.revision };
}

interface Told {
  readonly kind: string;
  readonly reason?: string;
  readonly generation?: string;
}

/** The next audit event of a kind, listened for from when this returns. */
async function listenAudit(host: OpenedHost, kind: string): Promise<() => Promise<Told>> {
  const subscription = host.nats.connection.subscribe(`audit.${kind}.>`, { max: 1 });
  await host.nats.connection.flush();
  return async () => {
    for await (const message of subscription) return (message.json() as { data: Told }).data;
    throw new Error(`no ${kind} event`);
  };
}

describe('the policy service', () => {
  test('publishes the document as written, and each process expands it from its own environment', async () => {
    await writeFile(file, onPort('$MCP_PORT'));
    const one = await openProcess({ MCP_PORT: '4001' });
    const other = await openProcess({ MCP_PORT: '4002' });
    const inOne = generationWhere(one, servesPort(4001));
    const inOther = generationWhere(other, servesPort(4002));
    await startPolicy(one, { file, env: { MCP_PORT: '4001' } });
    expect((await inOne).id).toBe((await inOther).id);
    expect((await stored(one))?.record).toMatchObject({ v: 1, id: (await inOne).id, document: { mcp: { port: '$MCP_PORT' } } });
  });

  test('keeps the old generation when an edit is bad, says why, and takes the next good one', async () => {
    await writeFile(file, onPort(4001));
    const host = await openProcess();
    await startPolicy(host, { file });
    const first = await generationWhere(host, servesPort(4001));
    const refused = await listenAudit(host, 'config_refused');
    await writeFile(file, onPort(4001, '  prefixMod: always\n'));
    expect((await refused()).reason).toContain(`${file}:3:3 error mcp.prefixMod: unknown key "prefixMod" (did you mean "prefixMode"?)`);
    expect(host.generations.current).toBe(first);
    await writeFile(file, onPort(4002));
    expect((await generationWhere(host, servesPort(4002))).id).not.toBe(first.id);
  });

  test('tells the audit stream what it accepted', async () => {
    await writeFile(file, onPort(4001));
    const host = await openProcess();
    const accepted = await listenAudit(host, 'config_accepted');
    await startPolicy(host, { file });
    expect((await accepted()).generation).toBe((await stored(host))?.record.id);
  });

  test('starts without its file, and takes it when it comes', async () => {
    const host = await openProcess();
    await startPolicy(host, { file });
    expect(host.generations.current).toBeUndefined();
    await writeFile(file, onPort(4003));
    expect(servesPort(4003)(await generationWhere(host, servesPort(4003)))).toBe(true);
  });

  test('follows a file that is replaced by renaming', async () => {
    await writeFile(file, onPort(4001));
    const host = await openProcess();
    await startPolicy(host, { file });
    for (const port of [4002, 4003]) {
      await writeFile(join(directory, 'next'), onPort(port));
      await rename(join(directory, 'next'), file);
      expect(servesPort(port)(await generationWhere(host, servesPort(port)))).toBe(true);
    }
  });

  test('follows a file behind a swapped symlink, as mounted configuration is', async () => {
    const version = async (name: string, port: number): Promise<void> => {
      await mkdir(join(directory, name));
      await writeFile(join(directory, name, 'config.yaml'), onPort(port));
      await symlink(name, join(directory, '..swap'));
      await rename(join(directory, '..swap'), join(directory, '..data'));
    };
    await version('..v1', 4001);
    await symlink('..data/config.yaml', file);
    const host = await openProcess();
    await startPolicy(host, { file });
    for (const [name, port] of [['..v2', 4002], ['..v3', 4003]] as const) {
      await version(name, port);
      expect(servesPort(port)(await generationWhere(host, servesPort(port)))).toBe(true);
    }
  });

  test('of which two replicas have the same file writes once', async () => {
    await writeFile(file, onPort(4001));
    const [one, other] = await Promise.all([openProcess(), openProcess()]);
    await Promise.all([startPolicy(one, { file }), startPolicy(other, { file })]);
    const first = await stored(one);
    const both = [generationWhere(one, servesPort(4002)), generationWhere(other, servesPort(4002))];
    await writeFile(file, onPort(4002));
    await Promise.all(both);
    const stop = await startPolicy(await openProcess(), { file });
    await stop();
    const status = await (await one.nats.kv(CONFIG_BUCKET)).get(CONFIG_KEY);
    expect(status?.revision).toBe((first?.revision ?? 0) + 1);
  });

  test('publishes a secret that stands in the file sealed, once for replicas with the same file and key, and anew for another key', async () => {
    const target = 'mcp:\n  port: 4100\n  targets:\n    - name: one\n      mcp: {host: h}\n      policies:\n        backendAuth: {key: planted-in-the-file}\n';
    await writeFile(file, target);
    const [host, sibling, other] = [await openProcess(), await openProcess(), await openProcess({ PARLEY_CONFIG_KEY: 'ab'.repeat(32) })];
    await startPolicy(host, { file });
    const keyIn = (generation: Generation): string | undefined => {
      const [known] = mcpBackends(generation).values();
      const auth = known?.targets[0]?.kind === 'mcp' ? known.targets[0].auth : undefined;
      const value = auth?.keys[0]?.value;
      return value !== undefined && 'secret' in value ? value.secret.reveal() : undefined;
    };
    expect(keyIn(await generationWhere(sibling, servesPort(4100)))).toBe('planted-in-the-file');
    const first = await stored(host);
    await startPolicy(sibling, { file });
    expect((await stored(host))?.revision).toBe(first?.revision);
    await startPolicy(other, { file });
    const second = await stored(host);
    expect([second?.record.id, (second?.revision ?? 0) > (first?.revision ?? 0)]).toEqual([first?.record.id, true]);
    expect(JSON.stringify([first, second])).not.toContain('planted-in-the-file');
  });

  test('replaces what is no record of ours', async () => {
    await writeFile(file, onPort(4001));
    const host = await openProcess();
    await (await host.nats.kv(CONFIG_BUCKET)).put(CONFIG_KEY, 'not json');
    await startPolicy(host, { file });
    expect((await stored(host))?.record.v).toBe(1);
  });

  test('publishes what changed while NATS was away', async () => {
    await writeFile(file, onPort(4001));
    const host = await openProcess();
    await startPolicy(host, { file });
    await generationWhere(host, servesPort(4001));
    world.kill();
    await writeFile(file, onPort(4002));
    await world.restart();
    expect(servesPort(4002)(await generationWhere(host, servesPort(4002)))).toBe(true);
  });

  test('without a file publishes nothing', async () => {
    const host = await openProcess();
    const stop = await startPolicy(host, {});
    await stop();
    expect(await stored(host)).toBeUndefined();
  });
});
