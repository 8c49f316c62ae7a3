/** A connection to NATS for as long as one command works. */
import { resolve } from 'node:path';
import { inboxPrefixOf, type User } from '#deploy/nats/permissions.ts';
import type { Logger } from '#host/telemetry/log.ts';
import { createLog, maskUrls } from '#host/telemetry/log.ts';
import { Secrets } from '#host/telemetry/secrets.ts';
import type { NatsHandle } from '#host/host.ts';
import { connectNats } from '#host/nats/connect.ts';
import { runningServerUrl } from '#host/nats/data-dir.ts';
import { natsHandle } from '#host/nats/handle.ts';
import type { HostSettings } from '#host/settings.ts';
import { readSettings } from '#host/settings.ts';
import { usageError } from '../core/exit.ts';

/** A person waits for an answer; a service waits longer (PARLEY_NATS_WAIT). */
const WAIT_MS = 10_000;

export interface NatsOptions {
  /** Undefined = NATS_URL only; else the data directory of a `parley up` on this machine does as well. */
  readonly dataDir: { readonly given: string | undefined } | undefined;
  readonly signal?: AbortSignal;
  /** The user of deploy/nats whose rights do for this command; the operator's unless given. */
  readonly user?: User;
}

export interface NatsSession {
  readonly nats: NatsHandle;
  readonly log: Logger;
  readonly settings: HostSettings;
  /** Without credentials: it is for showing. */
  readonly where: string;
}

export async function withNats<T>(options: NatsOptions, work: (session: NatsSession) => Promise<T>): Promise<T> {
  const settings = readSettings(process.env);
  const log = createLog({ level: settings.log.level, format: settings.log.format, secrets: Secrets.of(process.env) });
  const url = settings.nats.url ?? (await embeddedUrl(settings, options));
  const connection = await connectNats({
    url,
    name: 'parley-cli',
    log,
    waitMs: Math.min(WAIT_MS, settings.nats.waitMs),
    access: settings.nats.access,
    inboxPrefix: inboxPrefixOf(options.user ?? 'operator'),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  try {
    return await work({ nats: await natsHandle(connection), log, settings, where: maskUrls(url) });
  } finally {
    await connection.close();
  }
}

async function embeddedUrl(settings: HostSettings, { dataDir }: NatsOptions): Promise<string> {
  if (dataDir === undefined) throw usageError('set NATS_URL to the servers to work on: NATS_URL=nats://localhost:4222');
  const folder = dataDir.given === undefined ? settings.dataDir : resolve(dataDir.given);
  const url = await runningServerUrl(folder);
  if (url !== undefined) return url;
  throw usageError(
    `no \`parley up\` is running on the data directory ${folder}: start one, name its directory with --data (npm start uses .parley),\n` +
      'or set NATS_URL to the servers to listen to: NATS_URL=nats://localhost:4222',
  );
}
