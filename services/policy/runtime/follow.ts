/**
 * Follows one configuration file: whenever its text changes, it is compiled and, if it is good, published.
 *
 * W1 A bad file changes nothing: what is in KV stays, and the file is read again when it changes.
 * W2 A text is judged once. What could not be published (NATS away) is tried again, with the file as it is by then.
 * W3 One turn at a time.
 */
import { FileWatch } from '#host/file-watch.ts';
import type { Host } from '#host/host.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Environment } from '#protocol/config/expand.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { CONFIG_BUCKET } from '#protocol/records/config.ts';
import type { PolicyEvents } from '../events.ts';
import type { Running } from './caller-problems.ts';
import { compileText, readText } from './load.ts';
import { publishRecord } from './publish.ts';

/** How late a change is noticed where the file system gives no notice. */
const POLL_MS = 30_000;
const PUBLISH_AGAIN_MS = 2_000;
/** Beside the record, a message holds its headers. */
const RECORD_OVERHEAD_BYTES = 4 * 1024;

export interface FollowOptions {
  readonly file: string;
  readonly env: Environment;
  readonly running: Running;
  readonly host: Pick<Host, 'nats' | 'now' | 'documentSeal'>;
  readonly events: PolicyEvents;
}

export interface Following {
  stop(): Promise<void>;
}

/** Resolves when the file was judged for the first time, whatever came of it. */
export async function followFile(options: FollowOptions): Promise<Following> {
  const watch = new FileWatch(options.file);
  await watch.open();
  const turn = newTurn(options);
  let settled = await turn();
  let stopped = false;
  const run = async (): Promise<void> => {
    while (!stopped) {
      await watch.next(settled ? POLL_MS : PUBLISH_AGAIN_MS);
      if (!stopped) settled = await turn();
    }
  };
  const running = run();
  return {
    async stop() {
      stopped = true;
      watch.close();
      await running;
    },
  };
}

/** A turn reads the file and deals with it if it is new; false = deal with it again soon. Never throws. */
function newTurn({ file, env, running, host, events }: FollowOptions): () => Promise<boolean> {
  let judged: string | undefined;
  return async () => {
    const read = await readText(file);
    const text = 'text' in read ? `text ${read.text}` : `problem ${read.problem.message}`;
    if (text === judged) return true;
    judged = text;
    if ('problem' in read) {
      events.refused({ file, problems: [read.problem] });
      return true;
    }
    const { document, generation, problems } = compileText(read.text, { file, env, running });
    if (generation === undefined) {
      events.refused({ file, problems });
      return true;
    }
    try {
      const outcome = await publish(document, generation, host);
      if (outcome === 'published') events.accepted({ file, generation: generation.id, warnings: problems });
      else events.unchanged({ file, generation: generation.id });
      return true;
    } catch (error) {
      if (error instanceof Fault && error.code === 'invalid') {
        events.refused({ file, problems: [{ severity: 'error', file, line: 1, column: 1, path: '', message: error.message }] });
        return true;
      }
      events.unpublished({ file, generation: generation.id, error });
      judged = undefined;
      return false;
    }
  };
}

/** @throws Fault `invalid` when NATS would not carry it; see publishRecord for the rest. */
async function publish(document: unknown, { id }: Generation, { nats, now, documentSeal }: FollowOptions['host']): ReturnType<typeof publishRecord> {
  const limit = (nats.connection.info?.max_payload ?? Number.POSITIVE_INFINITY) - RECORD_OVERHEAD_BYTES;
  const record = await documentSeal.seal({ id, document, acceptedAt: now() });
  const bytes = Buffer.byteLength(JSON.stringify(record));
  if (bytes > limit) throw new Fault('invalid', `as JSON the document is ${bytes} bytes, and NATS here carries at most ${limit}: raise max_payload of nats-server, or make the document smaller`);
  return publishRecord(await nats.kv(CONFIG_BUCKET), record);
}
