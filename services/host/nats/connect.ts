/** The connection to NATS: waited for at start, kept for ever after, and refused when the server is too old to be trusted. */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection, Status } from '@nats-io/nats-core';
import { connect, credsAuthenticator, errors, type NodeConnectionOptions } from '@nats-io/transport-node';
import { Fault } from '#protocol/faults/fault.ts';
import { clock } from '../clock.ts';
import { maskUrls, type Logger } from '../telemetry/log.ts';
import { isAtLeast, SERVER_VERSION_MIN } from './binary.ts';

/** API level 2 came with server 2.12; a server that is asked for a feature it does not know may stay silent about it. */
const API_LEVEL_MIN = 2;
const API = '$JS.API.';
/** A cluster that is coming up loses requests; asking again is cheap. */
const LOOK_MS = 2_000;
/** A stopped server still takes connections, and says nothing on them. */
const DIAL_MS = 2_000;
const RETRY_MS = 500;
const FIRST_TRIES_MAX = 8;
/** Between two tries of the same server, give or take the jitter: many processes come back at once. */
const RECONNECT_MS = 250;
const JITTER_MS = 100;
/**
 * A server that vanished without a word is left when PINGS_MAX of these were not answered: after 1.5 to 2.3 s, and so
 * before other processes take this one for stalled (bus/peers.ts). Our own pauses do not count: a late timer asks once.
 */
const PING_MS = 750;
const PINGS_MAX = 2;

/** How we say who we are. Certificates are read anew at every reconnect, so they can be replaced while a process runs. */
export interface NatsAccess {
  /** Wins over a user in the URL. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** A NATS credentials file (JWT and seed). */
  readonly credsFile?: string | undefined;
  /** A CA certificate for tls:// URLs, when the system's do not do. */
  readonly caFile?: string | undefined;
  /** Our own certificate and its key, for servers that ask for one. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface ConnectOptions {
  /** One URL, or several separated by commas. A user and password, or a token, may stand in it. */
  readonly url: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  readonly log: Logger;
  readonly waitMs: number;
  readonly signal?: AbortSignal;
  readonly access?: NatsAccess;
  /** Where replies to requests come in; NATS permissions are given by it. */
  readonly inboxPrefix?: string;
}

/** @throws Fault upstream when NATS does not come up within waitMs, invalid when it refuses us or is too old. */
export async function connectNats(options: ConnectOptions): Promise<NatsConnection> {
  const { log, signal, waitMs } = options;
  const where = maskUrls(options.url);
  const dial = await dialOptions(options);
  const giveUpAt = clock() + waitMs;
  for (let tries = 0; ; tries += 1) {
    signal?.throwIfAborted();
    const outcome = await attempt(dial, where);
    if (!(outcome instanceof Error)) {
      if (signal?.aborted) await outcome.close();
      signal?.throwIfAborted();
      if (tries > 0) log.info({ nats: where }, 'NATS is up');
      void followStatus(outcome, log);
      return outcome;
    }
    if (outcome instanceof Fault) throw outcome;
    if (clock() + RETRY_MS > giveUpAt) {
      const said = `NATS at ${where} did not come up within ${waitMs / 1000} s (${outcome.message})`;
      const advice = 'Is it running? NATS_URL says where, PARLEY_NATS_WAIT how long to wait.';
      throw new Fault('upstream', `${said}. ${advice}`, { reason: 'nats-down' }, { cause: outcome });
    }
    if (tries === 0) log.warn({ nats: where }, `NATS is not reachable (${outcome.message}): waiting for it, up to ${waitMs / 1000} s`);
    await delay(RETRY_MS, undefined, signal === undefined ? {} : { signal });
  }
}

/**
 * A Fault is final; any other Error may go away by waiting. The first connection is only to look: one that learns of
 * other members, as the lasting one does, goes round them for ever when they refuse us, and never says why.
 */
async function attempt(dial: NodeConnectionOptions, where: string): Promise<NatsConnection | Error> {
  let look: NatsConnection | undefined;
  try {
    look = await connect({ ...dial, ignoreClusterUpdates: true, reconnect: false });
    await assertServer(look, where);
    return await connect({ ...dial, reconnectToServer: leastRecentlyTried(FIRST_TRIES_MAX) });
  } catch (error) {
    if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError) {
      return new Fault('invalid', `NATS at ${where} refuses our credentials: check NATS_USER and NATS_PASSWORD, NATS_CREDS, or the user in NATS_URL`, { reason: 'nats-auth' }, { cause: error });
    }
    if (error instanceof Error && error.cause instanceof errors.PermissionViolationError) {
      const { operation, subject } = error.cause;
      const said = `NATS at ${where} does not let this user ${operation === 'publish' ? 'publish' : 'subscribe'} ${subject}: deploy/nats/users.conf says what each user may do`;
      return new Fault('invalid', said, { reason: 'nats-auth' }, { cause: error });
    }
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    await look?.close();
  }
}

async function assertServer(connection: NatsConnection, where: string): Promise<void> {
  const version = connection.info?.version ?? '0';
  if (!isAtLeast(version, SERVER_VERSION_MIN)) {
    throw new Fault('invalid', `NATS at ${where} is nats-server ${version}: Parley needs ${SERVER_VERSION_MIN} or newer`, { reason: 'nats-version' });
  }
  const level = await apiLevel(connection, where);
  if (level < API_LEVEL_MIN) {
    const needed = `Parley needs ${API_LEVEL_MIN} (nats-server ${SERVER_VERSION_MIN})`;
    throw new Fault('invalid', `NATS at ${where} speaks JetStream API level ${level}: ${needed}`, { reason: 'nats-version' });
  }
}

/** A member of a cluster may be without JetStream itself, or have no leader yet: that is waited for. */
async function apiLevel(connection: NatsConnection, where: string): Promise<number> {
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: LOOK_MS });
    return (await manager.getAccountInfo()).api.level ?? 0;
  } catch (error) {
    if (connection.info?.jetstream === true || connection.info?.cluster !== undefined) throw error;
    const said = `NATS at ${where} runs without JetStream: start it with -js, or with a jetstream block in its configuration`;
    throw new Fault('invalid', said, { reason: 'nats-jetstream' }, { cause: error });
  }
}

/** The client ignores the scheme of a URL and the user in it, so both are read here. */
async function dialOptions({ url, name, access = {}, inboxPrefix }: ConnectOptions): Promise<NodeConnectionOptions> {
  const urls = url.split(',').map((text) => new URL(text.includes('://') ? text.trim() : `nats://${text.trim()}`));
  const tls = await tlsOptions(access);
  const secure = urls.some((one) => one.protocol === 'tls:') || Object.keys(tls).length > 0;
  return {
    servers: urls.map((one) => one.host),
    name,
    timeout: DIAL_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: JITTER_MS,
    reconnectJitterTLS: JITTER_MS,
    pingInterval: PING_MS,
    maxPingOut: PINGS_MAX,
    /** A stack captured for every request costs half of the throughput. */
    noAsyncTraces: true,
    /** Credentials that are being rotated must not end a running process. */
    ignoreAuthErrorAbort: true,
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...(secure ? { tls } : {}),
    ...(await identity(urls[0], access)),
  };
}

type PickServer = NonNullable<NodeConnectionOptions['reconnectToServer']>;

/**
 * The client would begin with the server it has just lost, and may wait DIAL_MS in vain for one that is stopped. That one
 * was tried last of all, since trying it ended the search before.
 * @param firstTriesMax gives up after so many, while there was no connection yet.
 */
function leastRecentlyTried(firstTriesMax: number): PickServer {
  let tries = 0;
  return (servers) => {
    if (!servers.some(({ didConnect }) => didConnect) && ++tries > firstTriesMax) throw new Error('no server of the cluster lets us in');
    return servers.reduce((best, one) => (one.lastConnect < best.lastConnect ? one : best));
  };
}

/** The client reads the files itself; a wrong path is told at once, and not after a minute of trying. */
async function tlsOptions({ caFile, certFile, keyFile }: NatsAccess): Promise<NonNullable<NodeConnectionOptions['tls']>> {
  for (const [variable, file] of Object.entries({ NATS_CA: caFile, NATS_CERT: certFile, NATS_KEY: keyFile })) {
    if (file !== undefined) await readNamed(variable, file);
  }
  return {
    ...(caFile === undefined ? {} : { caFile }),
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
  };
}

async function identity(url: URL | undefined, { user, password, credsFile }: NatsAccess): Promise<Pick<NodeConnectionOptions, 'authenticator' | 'token' | 'user' | 'pass'>> {
  if (credsFile !== undefined) return { authenticator: credsAuthenticator(await readNamed('NATS_CREDS', credsFile)) };
  if (user !== undefined) return { user, pass: password ?? '' };
  const name = decodeURIComponent(url?.username ?? '');
  const pass = decodeURIComponent(url?.password ?? '');
  if (name === '') return {};
  return pass === '' ? { token: name } : { user: name, pass };
}

async function readNamed(variable: string, file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new Fault('invalid', `${variable} names ${file}, which cannot be read (${(error as NodeJS.ErrnoException).code})`, { reason: 'nats-auth' });
  }
}

async function followStatus(connection: NatsConnection, log: Logger): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'staleConnection') cutOff(connection);
    report(status, log);
  }
  const problem = await connection.closed();
  if (problem instanceof Error) log.error({ err: problem }, 'the connection to NATS is closed for good');
}

/**
 * The client writes once more before it leaves a server that went silent, and waits until that is sent: for ever, when
 * the server takes no bytes any more. Its socket is destroyed, which ends the wait (and there is no public way to it).
 */
function cutOff(connection: NatsConnection): void {
  const { protocol } = connection as { readonly protocol?: { readonly transport?: { readonly socket?: { destroy(): void } } } };
  protocol?.transport?.socket?.destroy();
}

function report(status: Status, log: Logger): void {
  switch (status.type) {
    case 'disconnect':
      return log.warn({ server: status.server }, 'lost the connection to NATS: trying again until it is back');
    case 'reconnect':
      return log.info({ server: status.server }, 'the connection to NATS is back');
    case 'ldm':
      return log.info({ server: status.server }, 'this NATS server is about to stop: moving to another');
    case 'staleConnection':
      return log.warn('NATS does not answer pings');
    case 'slowConsumer':
      return log.warn({ subject: status.sub.getSubject(), pending: status.pending }, 'messages from NATS pile up faster than they are handled');
    case 'error':
      // Whoever asked JetStream is told; a start asks for more than most users may see.
      if (status.error instanceof errors.PermissionViolationError && status.error.subject.startsWith(API)) return log.debug({ err: status.error }, 'JetStream refuses');
      return log.warn({ err: status.error }, 'NATS reports an error');
    default:
      return log.debug({ status: status.type }, 'NATS connection');
  }
}
