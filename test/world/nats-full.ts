/** A nats-server with the layout in it and hardly any storage: to be filled, and emptied again. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JetStreamApiError, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { applyLayout } from '#deploy/nats/apply.ts';
import { BUCKETS, bucketStream, STREAMS } from '#deploy/nats/layout.ts';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import { runServer } from '#host/nats/program.ts';
import { createLog } from '#host/telemetry/log.ts';
import { freePort } from './port.ts';

const MIB = 1024 * 1024;
const FILLER = 'FILLER';
/** What is set aside for each stream of the layout, and for all together. */
const STREAM_BYTES = MIB;
const SERVER_BYTES = 16 * MIB;

export interface ScarceWorld {
  readonly url: string;
  readonly connection: NatsConnection;
  /** Every write is refused from here on, whichever stream it is for. */
  fill(): Promise<void>;
  empty(): Promise<void>;
  stop(): Promise<void>;
}

export async function startScarceNats(): Promise<ScarceWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'parley-scarce-'));
  const file = join(folder, 'nats-server.conf');
  const port = await freePort();
  await writeFile(file, `listen: "127.0.0.1:${port}"\nmax_payload: 8388608\njetstream { store_dir: "${join(folder, 'store')}", max_file: $MAX_FILE }`);
  const { path } = await resolveNatsServer(process.env, { onProgress: (line) => process.stderr.write(`${line}\n`) });
  const log = createLog({ level: process.env['PARLEY_TEST_LOG'] === 'debug' ? 'debug' : 'silent', format: 'json' });
  const run = (bytes: number) => runServer(path, file, log, { PATH: process.env['PATH'], MAX_FILE: String(bytes) });
  // The sizes of the layout fit into an ordinary server only; an operator may make them smaller.
  const roomy = await run(4 * 1024 * MIB);
  const first = await connect({ servers: `127.0.0.1:${port}` });
  const manager = await jetstreamManager(first);
  await applyLayout(manager);
  for (const stream of [...STREAMS.map(({ name }) => name), ...BUCKETS.map(({ name }) => bucketStream(name))]) await manager.streams.update(stream, { max_bytes: STREAM_BYTES });
  await manager.streams.add({ name: FILLER, subjects: ['filler'] });
  await first.close();
  await roomy.stop();
  const server = await run(SERVER_BYTES);
  const connection = await connect({ servers: `127.0.0.1:${port}`, maxReconnectAttempts: -1 });
  return {
    url: `nats://127.0.0.1:${port}`,
    connection,
    fill: () => fill(connection),
    empty: async () => void (await (await jetstreamManager(connection)).streams.purge(FILLER)),
    stop: async () => {
      await connection.close();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function fill(connection: NatsConnection): Promise<void> {
  const js = jetstream(connection);
  for (;;) {
    try {
      await js.publish('filler', new Uint8Array(MIB / 2));
    } catch (error) {
      if (error instanceof JetStreamApiError) return;
      throw error;
    }
  }
}
