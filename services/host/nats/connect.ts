/** The connection to NATS: waited for at start, kept for ever after, and refused when the server is too old to be trusted. */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection, Status } from '@nats-io/nats-core';
import { connect, credsAuthenticator, errors, type NodeConnectionOptions } from '@nats-io/transport-node';
import { Fault } from '#protocol/faults/fault.ts';
import { maskUrls, type Logger } from '../telemetry/log.ts';
import { isAtLeast, SERVER_VERSION_MIN } from './binary.ts';

/** API level 2 came with server 2.12; a server that is asked for a feature it does not know may stay silent about it. */
const API_LEVEL_MIN = 2;
const DIAL_MS = 5_000;
const RETRY_MS = 500;
const RECONNECT_MS = 250;
/** A peer that vanished without a word is noticed after two of these. */
const PING_MS = 10_000;

export interface ConnectOptions {
  /** One URL, or several separated by commas. A user and password, or a token, may stand in it. */
  readonly url: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  readonly log: Logger;
  readonly waitMs: number;
  readonly signal?: AbortSignal;
  /** A NATS credentials file (JWT and seed). */
  readonly credsFile?: string | undefined;
  /** A CA certificate for tls:// URLs, when the system's do not do. */
  readonly caFile?: string | undefined;
}

/** @throws Fault upstream when NATS does not come up within waitMs, invalid when it refuses us or is too old. */
export async function connectNats(options: ConnectOptions): Promise<NatsConnection> {
  const { log, signal, waitMs } = options;
  const where = maskUrls(options.url);
  const dial = await dialOptions(options);
  const giveUpAt = Date.now() + waitMs;
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
    if (Date.now() + RETRY_MS > giveUpAt) {
      const said = `NATS at ${where} did not come up within ${waitMs / 1000} s (${outcome.message})`;
      const advice = 'Is it running? NATS_URL says where, PARLEY_NATS_WAIT how long to wait.';
      throw new Fault('upstream', `${said}. ${advice}`, { reason: 'nats-down' }, { cause: outcome });
    }
    if (tries === 0) log.warn({ nats: where }, `NATS is not reachable (${outcome.message}): waiting for it, up to ${waitMs / 1000} s`);
    await delay(RETRY_MS, undefined, signal === undefined ? {} : { signal });
  }
}

/** A Fault is final; any other Error may go away by waiting. */
async function attempt(dial: NodeConnectionOptions, where: string): Promise<NatsConnection | Error> {
  let connection: NatsConnection | undefined;
  try {
    connection = await connect(dial);
    await assertServer(connection, where);
    return connection;
  } catch (error) {
    await connection?.close();
    if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError) {
      return new Fault('invalid', `NATS at ${where} refuses our credentials: check NATS_CREDS, or the user in NATS_URL`, { reason: 'nats-auth' }, { cause: error });
    }
    return error instanceof Error ? error : new Error(String(error));
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
    const manager = await jetstreamManager(connection, { checkAPI: false });
    return (await manager.getAccountInfo()).api.level ?? 0;
  } catch (error) {
    if (connection.info?.jetstream === true || connection.info?.cluster !== undefined) throw error;
    const said = `NATS at ${where} runs without JetStream: start it with -js, or with a jetstream block in its configuration`;
    throw new Fault('invalid', said, { reason: 'nats-jetstream' }, { cause: error });
  }
}

/** The client ignores the scheme of a URL and the user in it, so both are read here. */
async function dialOptions({ url, name, credsFile, caFile }: ConnectOptions): Promise<NodeConnectionOptions> {
  const urls = url.split(',').map((text) => new URL(text.includes('://') ? text.trim() : `nats://${text.trim()}`));
  const user = decodeURIComponent(urls[0]?.username ?? '');
  const pass = decodeURIComponent(urls[0]?.password ?? '');
  const secure = urls.some((one) => one.protocol === 'tls:') || caFile !== undefined;
  return {
    servers: urls.map((one) => one.host),
    name,
    timeout: DIAL_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    pingInterval: PING_MS,
    /** A stack captured for every request costs half of the throughput. */
    noAsyncTraces: true,
    /** Credentials that are being rotated must not end a running process. */
    ignoreAuthErrorAbort: true,
    ...(secure ? { tls: caFile === undefined ? {} : { caFile } } : {}),
    ...(credsFile === undefined ? {} : { authenticator: credsAuthenticator(await readCreds(credsFile)) }),
    ...(credsFile !== undefined || user === '' ? {} : pass === '' ? { token: user } : { user, pass }),
  };
}

async function readCreds(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new Fault('invalid', `NATS_CREDS names ${file}, which cannot be read (${(error as NodeJS.ErrnoException).code})`, { reason: 'nats-auth' });
  }
}

async function followStatus(connection: NatsConnection, log: Logger): Promise<void> {
  for await (const status of connection.status()) report(status, log);
  const problem = await connection.closed();
  if (problem instanceof Error) log.error({ err: problem }, 'the connection to NATS is closed for good');
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
      return log.warn({ err: status.error }, 'NATS reports an error');
    default:
      return log.debug({ status: status.type }, 'NATS connection');
  }
}
