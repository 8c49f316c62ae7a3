/**
 * Opens the outside world for one process, in this order, and lets go of it in the reverse one:
 *
 *   telemetry → NATS → layout → bus → generations → audit → metrics and health
 *
 * H1 The bus drains before anything it needs is let go: it is registered last.
 * H2 While it drains, the process says so on /healthz/ready, from before its services begin to stop (`beginDrain`): a load
 *    balancer that looks there sends nobody to a door that is about to close.
 */
import { randomBytes } from 'node:crypto';
import type { NatsConnection } from '@nats-io/nats-core';
import * as Effect from 'effect/Effect';
import * as Schedule from 'effect/Schedule';
import type * as Scope from 'effect/Scope';
import { ensureLayout, type Applied } from '#deploy/nats/apply.ts';
import { inboxPrefixOf } from '#deploy/nats/permissions.ts';
import { compileDocument, type Compilation, type PolicySchemas } from '#protocol/config/compile.ts';
import { variableNames } from '#protocol/config/expand.ts';
import { Secret } from '#protocol/config/secret.ts';
import { withheldFrom } from '#protocol/config/secret-paths.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { CONFIG_KEYS_BUCKET, CONFIG_KEYS_KEY } from '#protocol/records/keys.ts';
import { openAudit } from './audit/audit.ts';
import { CallerSeal } from './caller-seal.ts';
import { clock } from './clock.ts';
import { DocumentSeal } from './document-seal.ts';
import type { Bus } from './bus/bus.ts';
import { createNatsBus } from './bus/nats.ts';
import { type GenerationsOptions, openGenerations, type OpenGenerations } from './generations.ts';
import type { Host } from './host.ts';
import { connectNats } from './nats/connect.ts';
import { natsHandle } from './nats/handle.ts';
import { type KeyPlace, sharedKeys } from './nats/shared-keys.ts';
import { parseAddress, STATS_ADDR_DEFAULT, type Address, type HostSettings } from './settings.ts';
import { startAdmin } from './telemetry/admin.ts';
import { Svids } from './spiffe/svids.ts';
import { createLog, LOG_LEVELS, type Logger, type LogLevel, LogOutput } from './telemetry/log.ts';
import { type Learn, Secrets, secretVariables } from './telemetry/secrets.ts';
import { openTelemetry, type OpenTelemetry } from './telemetry/telemetry.ts';

const CLOSE_MS = 2_000;
const KEY_BYTES = 32;
/** A cluster that has just come up, or lost a leader, refuses or times out until it has elected its leaders: about 12 s in all. */
const ELECTION = { schedule: Schedule.exponential('100 millis'), times: 6, while: (fault: Fault) => fault.retryable };

export interface OpenHostOptions {
  /** A subject token: `up`, or the services that run here. Part of the instance and the connection's name. */
  readonly role: string;
  readonly settings: HostSettings;
  readonly natsUrl: string;
  /** What `$VAR` in the gateway document stands for in this process. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Each policy's own schema, by config key. */
  readonly policies?: PolicySchemas;
  /** Services that run here: what of the document is not for them is not kept. */
  readonly services?: readonly string[];
  /** False = this process is ready without a configuration. */
  readonly needsGeneration?: boolean;
  /** Why a service is not ready yet; undefined = it is. */
  readonly notReady?: () => string | undefined;
}

export interface OpenedHost extends Host {
  readonly bus: Bus;
  readonly applied: readonly Applied[];
  /** From now on this process is not ready: to be called before its services stop. */
  readonly beginDrain: () => void;
  /** Base URL of /metrics and /healthz; undefined = off. */
  readonly statsUrl: string | undefined;
}

export const openHost = Effect.fnUntraced(function* (options: OpenHostOptions): Effect.fn.Return<OpenedHost, Fault, Scope.Scope> {
  const { role, settings, natsUrl } = options;
  const instance = `${role}-${randomBytes(6).toString('hex')}`;
  const secrets = Secrets.of(options.env);
  const output = new LogOutput(settings.log);
  const log = createLog({ ...settings.log, base: { service: role, instance }, secrets, sink: output });
  const telemetry = yield* acquire(
    'telemetry',
    () => openTelemetry({ service: `parley-${role}`, instance, traces: settings.traces, log, secrets }),
    (open) => open.shutdown(),
  );
  const { waitMs, access, replicas } = settings.nats;
  const connection = yield* acquire(
    'the connection to NATS',
    (signal) => connectNats({ url: natsUrl, name: `parley-${instance}`, log, waitMs, signal, access, inboxPrefix: inboxPrefixOf(role) }),
    closeConnection,
  );
  const nats = yield* attempt('JetStream', () => natsHandle(connection));
  const applied = yield* attempt('the streams and buckets', () => ensureLayout(nats.jsm, { replicas })).pipe(Effect.retry(ELECTION));
  tellLayout(applied, log);

  const bus = openBus(connection, instance, log, telemetry);
  const ownVariables = new Set<string>();
  const compile = compiler(options, secrets, ownVariables);
  const documentSeal = new DocumentSeal(async () => settings.configKeys ?? sharedKeys(nats, configKeys(options)));
  const generations = yield* acquire(
    'the configuration bucket',
    () => openGenerations({ nats, log, compile, ...(runs(options, 'connector', 'policy') ? { open: opener(documentSeal, secrets) } : {}) }),
    async (open) => open.stop(),
  ).pipe(Effect.retry(ELECTION));
  followDocument(generations, settings, { log, output, telemetry });
  const svids = yield* acquire('SVIDs', () => openSvids(settings, generations, { log, telemetry, learn: secrets.learn }), async (open) => open.close());
  const audit = openAudit({ connection, connected: () => bus.connected, instance, log, metrics: telemetry, mask: secrets.mask });

  let draining = false;
  const notReady = (): string | undefined => {
    if (draining) return 'draining';
    if (!bus.connected) return 'the connection to NATS is lost';
    if (options.needsGeneration !== false && generations.current === undefined) return 'no configuration was accepted yet';
    return options.notReady?.();
  };
  const address = statsAddress(settings, generations);
  const admin =
    address === 'off'
      ? undefined
      : yield* acquire(
          'metrics and health',
          () => startAdmin({ address, log, notReady, serveMetrics: telemetry.serveMetrics }),
          (open) => open.stop(),
        );
  const beginDrain = (): void => void (draining = true);
  yield* Effect.addFinalizer(() => {
    beginDrain();
    return Effect.promise(async () => {
      await bus.drain(clock() + settings.drainMs).catch((error: unknown) => log.warn({ err: error }, 'the bus did not drain cleanly'));
      audit.flush();
    });
  });
  const seal = new CallerSeal(() => generations.current?.settings.sessionKey);
  const cookieKey = settings.cookieKey ?? new Secret(randomBytes(KEY_BYTES).toString('hex'));
  return { bus, nats, generations, audit, telemetry, log, mask: secrets.mask, learn: secrets.learn, svids, ownVariables, seal, documentSeal, cookieKey, bindAddresses: settings.bindAddresses, now: Date.now, applied, beginDrain, statsUrl: admin?.url };
});

function openSvids({ spiffeEndpoint }: HostSettings, generations: OpenGenerations, { log, telemetry, learn }: { readonly log: Logger; readonly telemetry: OpenTelemetry; readonly learn: Learn }): Svids {
  const updates = telemetry.counter('parley_spiffe_updates', 'what came of asking the SPIFFE Workload API, by outcome: taken, unusable, unavailable');
  const svids = new Svids({ log, updates, learn, now: Date.now });
  svids.follow(spiffeEndpoint);
  generations.onChange(({ settings }) => svids.follow(spiffeEndpoint ?? settings.spiffeEndpoint));
  return svids;
}

/** What its variables stand for is secret before anything is said of a document. */
const compiler =
  ({ env, policies = {}, services }: OpenHostOptions, secrets: Secrets, ownVariables: Set<string>) =>
  (document: unknown, id: string): Compilation => {
    secrets.addVariables(variableNames(document), env);
    for (const name of secretVariables(variableNames(document, 'stdio'), env)) ownVariables.add(name);
    return compileDocument(document, { env, policies, id, ...(services === undefined ? {} : { withheld: withheldFrom(services) }) });
  };

const runs = ({ services }: OpenHostOptions, ...some: readonly string[]): boolean => services === undefined || services.some((service) => some.includes(service));

const configKeys = (options: OpenHostOptions): KeyPlace => ({ bucket: CONFIG_KEYS_BUCKET, key: CONFIG_KEYS_KEY, variable: 'PARLEY_CONFIG_KEY', draws: runs(options, 'policy') });

/** What was sealed is secret before anything is said of it. */
const opener =
  (seal: DocumentSeal, known: Secrets): NonNullable<GenerationsOptions['open']> =>
  async (record) => {
    const { document, secrets } = await seal.open(record);
    for (const secret of secrets) known.learn(secret, 'kept');
    return document;
  };

/** What is not a Fault here came from NATS or the operating system, and at a start it may go away by trying again. */
const attempt = <A>(what: string, work: (signal: AbortSignal) => A | Promise<A>): Effect.Effect<A, Fault> =>
  Effect.tryPromise({
    try: async (signal) => work(signal),
    catch: (error) => {
      if (error instanceof Fault) return error;
      return new Fault('overloaded', `${what} could not be opened: ${error instanceof Error ? error.message : String(error)}`, {}, { cause: error });
    },
  });

/** Interruptible, since a start may wait a minute for NATS; each of these either opens whole or leaves nothing behind. */
const acquire = <A>(
  what: string,
  open: (signal: AbortSignal) => A | Promise<A>,
  release: (opened: A) => Promise<void>,
): Effect.Effect<A, Fault, Scope.Scope> =>
  Effect.acquireRelease(attempt(what, open), (opened) => Effect.promise(() => release(opened).catch(() => {})), { interruptible: true });

function tellLayout(applied: readonly Applied[], log: Logger): void {
  for (const { name, outcome, changes } of applied) {
    if (outcome === 'differs') log.warn({ name, changes }, 'a stream has other limits than the layout, and this NATS user may not change it');
    else if (outcome === 'created' || outcome === 'updated') log.info({ name, changes }, `stream layout ${outcome}`);
  }
}

function openBus(connection: NatsConnection, instance: string, log: Logger, telemetry: OpenTelemetry): Bus {
  const dropped = telemetry.counter('parley_bus_dropped', 'messages not sent because NATS was away');
  const bus = createNatsBus({
    connection,
    instance,
    onBug: (error, subject) => log.error({ err: error, subject }, 'a handler failed'),
    onDropped: () => dropped.add(1),
  });
  telemetry.gauge('parley_nats_connected', '1 while the connection to NATS stands', () => (bus.connected ? 1 : 0));
  return bus;
}

/** What was published is flushed, if there is somebody to flush it to. */
async function closeConnection(connection: NatsConnection): Promise<void> {
  const late = AbortSignal.timeout(CLOSE_MS);
  const drained = connection.isClosed() ? Promise.resolve() : connection.drain().catch(() => {});
  await Promise.race([drained, new Promise((resolve) => late.addEventListener('abort', resolve, { once: true }))]);
  await connection.close();
}

/** The environment wins over the gateway document: whoever starts a process decides how much it says. */
function followDocument(generations: OpenGenerations, settings: HostSettings, { log, output, telemetry }: { readonly log: Logger; readonly output: LogOutput; readonly telemetry: OpenTelemetry }): void {
  const { levelIsSet, formatIsSet } = settings.log;
  generations.onChange(({ settings: { logLevel, logFormat, tracing } }) => {
    const level = LOG_LEVELS.find((one): one is LogLevel => one === logLevel);
    if (level !== undefined && !levelIsSet) log.level = level;
    if (logFormat !== undefined && !formatIsSet) output.format = logFormat === 'text' ? 'pretty' : 'json';
    telemetry.followTraces(tracing).catch((error: unknown) => log.error({ err: error }, 'spans cannot be sent where the configuration says'));
  });
}

function statsAddress(settings: HostSettings, generations: OpenGenerations): Address | 'off' {
  const fallback = parseAddress(STATS_ADDR_DEFAULT) ?? 'off';
  if (settings.statsAddr !== undefined) return settings.statsAddr;
  const written = generations.current?.settings.statsAddr;
  return (written === undefined ? undefined : parseAddress(written)) ?? fallback;
}
