/** A body, as frames that a bus carries. */
import { CHUNK_BYTES_MAX } from '#protocol/subjects/http.ts';
import type { Answer } from './bus.ts';

/** False = no credit left: await `drained()` before the next. */
export function sendChunks(answer: Answer, bytes: Uint8Array): boolean {
  let free = true;
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES_MAX) free = answer.data(bytes.subarray(at, at + CHUNK_BYTES_MAX)) && free;
  return free;
}
