/**
 * `parley up` and `parley run`: services in this process, from the first word to the last.
 *
 *   check the file → find NATS → open the host → start the services → print the table → wait to be stopped
 *
 * V1 A file that is not valid ends the start before anything runs.
 * V2 What was opened is closed in the reverse order: ingress stops taking first, our own nats-server stops last.
 */
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import * as Cause from 'effect/Cause';
import * as Effect from 'effect/Effect';
import * as Exit from 'effect/Exit';
import type * as Scope from 'effect/Scope';
import type { Environment } from '#host/environment.ts';
import type { OpenedHost } from '#host/open.ts';
import { openHost } from '#host/open.ts';
import { policySchemas } from '#policies/order.ts';
import type { HostSettings } from '#host/settings.ts';
import { readSettings } from '#host/settings.ts';
import { maskUrls } from '#host/telemetry/log.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { problemLine } from '#protocol/config/problem.ts';
import { asFault } from '#protocol/faults/fault.ts';
import { loadDocument } from '../../policy/runtime/load.ts';
import type { ServiceName } from '../arguments.ts';
import { CommandError } from '../core/exit.ts';
import { firstMcpUrl, startTable } from '../show/start-table.ts';
import { VERSION } from '../version.ts';
import { findNats } from './find-nats.ts';
import type { FoundNats } from './find-nats.ts';
import { loadService } from './services.ts';
import { targetStates } from './target-states.ts';
import { colorsFor, print, say } from './terminal.ts';
import { untilSignal } from './until-signal.ts';

const GENERATION_MS = 10_000;
const SETTLE_MS = 10_000;
const ALL: readonly ServiceName[] = ['policy', 'session', 'connector', 'ingress'];

export interface Serving {
  /** What this process is to the others: a subject token. */
  readonly role: string;
  /** In the order they start. */
  readonly services: readonly ServiceName[];
  /** Read by the policy service. */
  readonly file: string | undefined;
  /** Also what `$VAR` stands for in the configuration. */
  readonly env: Environment;
  readonly dataDir?: string | undefined;
  readonly bind?: string | undefined;
  /** What to try next, shown when all is up. */
  readonly hint?: (mcpUrl: string) => string;
}

export async function serve(serving: Serving): Promise<void> {
  const began = performance.now();
  const settings = settingsOf(serving);
  const wanted = serving.file === undefined ? undefined : await validGeneration(serving.file, serving);
  await untilSignal(async (signal) => {
    signal.addEventListener('abort', () => say(`parley: ${String(signal.reason)}, stopping; once more to leave at once`), { once: true });
    const work = Effect.gen(function* () {
      const { host, nats } = yield* start(serving, settings);
      yield* Effect.promise(() => announce({ serving, host, nats, wanted }, signal));
      const took = `${((performance.now() - began) / 1000).toFixed(1)} s`;
      const inForce = wanted === undefined || host.generations.current?.id === wanted.id;
      say(inForce ? `ready after ${took}` : `started after ${took}, but the configuration of ${serving.file} is not in force yet: the log says why`);
      yield* Effect.never;
    });
    const exit = await Effect.runPromiseExit(Effect.scoped(work), { signal });
    if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) throw Cause.squash(exit.cause);
  });
}

interface Started {
  readonly host: OpenedHost;
  readonly nats: FoundNats;
}

const start = Effect.fnUntraced(function* ({ role, services, file, env }: Serving, settings: HostSettings): Effect.fn.Return<Started, unknown, Scope.Scope> {
  const nats = yield* findNats(settings, env);
  if (nats.mode === 'external') say(`connecting to ${maskUrls(nats.url)}`);
  const host = yield* openHost({ role, settings, natsUrl: nats.url, env, policies: policySchemas, services });
  for (const name of services) {
    say(`starting ${name}`);
    const service = yield* Effect.tryPromise({ try: () => loadService(name, { file, env }), catch: asFault });
    yield* service.start(host);
  }
  yield* Effect.addFinalizer(() => Effect.sync(host.beginDrain));
  return { host, nats };
});

interface Announced extends Started {
  readonly serving: Serving;
  /** The generation of our own file; undefined = any will do. */
  readonly wanted: Generation | undefined;
}

async function announce({ serving, host, nats, wanted }: Announced, signal: AbortSignal): Promise<void> {
  const generation = await settledGeneration(host, wanted, signal);
  const targets = [...(generation?.backends.values() ?? [])].flatMap((backend): readonly object[] => (backend.kind === 'mcp' ? backend.targets : [backend]));
  // Another process's targets are shown as they are; only our own are worth waiting for.
  const settleMs = serving.services.includes('connector') ? SETTLE_MS : 0;
  if (targets.length > 0 && settleMs > 0) say(`waiting for ${targets.length} ${targets.length === 1 ? 'target' : 'targets'}`);
  const states = generation === undefined ? undefined : await targetStates(host.bus, { targets: targets.length, settleMs }, signal);
  if (signal.aborted) return;
  const version = host.nats.connection.info?.version ?? 'of unknown version';
  print(
    startTable(
      {
        version: VERSION,
        node: process.versions.node,
        services: serving.services,
        nats: { url: maskUrls(nats.url), mode: nats.mode, version },
        generation,
        bindAddresses: host.bindAddresses,
        statsUrl: host.statsUrl,
        targets: states,
      },
      colorsFor(process.stdout),
    ),
  );
  const mcpUrl = firstMcpUrl(generation, host.bindAddresses);
  if (mcpUrl !== undefined && serving.hint !== undefined) print(`\n${serving.hint(mcpUrl)}`);
}

/** NATS may hold the configuration of an earlier run: the one of our file is awaited. */
async function settledGeneration({ generations }: OpenedHost, wanted: Generation | undefined, signal: AbortSignal): Promise<Generation | undefined> {
  if (wanted === undefined) return generations.current;
  const { promise, resolve: found } = Promise.withResolvers<void>();
  const forget = generations.onChange((generation) => void (generation.id === wanted.id && found()));
  const late = delay(GENERATION_MS, undefined, { signal, ref: false }).catch(() => {});
  await Promise.race([promise, late]);
  forget();
  return generations.current;
}

async function validGeneration(file: string, { env, services }: Serving): Promise<Generation> {
  const { generation, problems } = await loadDocument(file, env, { alone: ALL.every((name) => services.includes(name)) });
  for (const problem of problems) say(problemLine(problem));
  if (generation === undefined) throw new CommandError(`${file} is not valid: nothing was started`);
  return generation;
}

/** What was typed wins over the environment. */
function settingsOf({ env, dataDir, bind }: Serving): HostSettings {
  const settings = readSettings(bind === undefined ? env : { ...env, PARLEY_BIND: bind });
  return dataDir === undefined ? settings : { ...settings, dataDir: resolve(dataDir) };
}
