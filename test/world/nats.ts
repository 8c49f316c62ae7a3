/** A real nats-server with JetStream for one test file: loopback, a free port, a store of its own that goes when it stops. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNatsChild } from '#host/nats/child.ts';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import { createLog } from '#host/telemetry/log.ts';

export interface NatsWorld {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
  /** As a crash: no goodbye; it stays dead until `restart`. */
  kill(): void;
  /** On the same port, with the same store. */
  restart(): Promise<void>;
}

/** Set PARLEY_TEST_LOG=debug to read what the server says. */
export async function startNats(options: { readonly port?: number } = {}): Promise<NatsWorld> {
  const log = createLog({ level: process.env['PARLEY_TEST_LOG'] === 'debug' ? 'debug' : 'silent', format: 'json' });
  const { path } = await resolveNatsServer(process.env, { onProgress: (line) => process.stderr.write(`${line}\n`) });
  const dataDir = await mkdtemp(join(tmpdir(), 'parley-nats-'));
  const child = await startNatsChild({ bin: path, dataDir, log, ...options });
  return {
    url: child.url,
    port: child.port,
    kill: () => child.kill(),
    restart: () => child.restart(),
    stop: async () => {
      await child.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
