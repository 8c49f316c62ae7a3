/** The answer of an upstream as its client gets it: cut to what it may see, then its handles sealed, then named as the client knows it. What none of this changes keeps its bytes. */
import { type Response, encode } from '#protocol/mcp/message.ts';
import type { Naming } from '#protocol/mcp/naming.ts';
import { rewriteResult } from '../../core/rewrite.ts';
import type { Handles, Place } from './handles.ts';

/** Takes out of a list what its caller may not see, judged by the names the target has for it. */
export type Cut = (response: Response) => Response;

/** A response as it came. */
export interface Answered {
  readonly target: string;
  readonly response: Response;
  readonly bytes: Uint8Array;
  /** What it answers. */
  readonly place: Place;
  /** Undefined when all of it may be seen. */
  readonly cut: Cut | undefined;
}

/** @param handles undefined = nothing is sealed. */
export function answerForClient({ target, response, bytes, place, cut }: Answered, naming: Naming, handles: Handles | undefined): Uint8Array {
  const seen = cut === undefined ? response : cut(response);
  const sealed = handles === undefined ? seen : handles.sealed(place, seen);
  const out = naming.shared ? rewriteResult(sealed, target, naming) : sealed;
  return out === response ? bytes : encode(out);
}
