/** What happened, written down as it happens and judged afterwards. All times are of one clock, in ms. */
import type { FaultKind } from './faults.ts';
import type { CallName, Effect, Mark } from './tools.ts';

/**
 *   answered    a result; `mark` is what it carries (undefined: none, or not a tool)
 *   failed      a JSON-RPC error, or a tool's isError
 *   refused     HTTP 503: not taken
 *   cut         the connection broke before an answer or an event id
 *   lost        HTTP 404: the session is unknown, and the client has not ended it
 *   unresumable its stream broke, and the event id was not taken
 *   unanswered  the client gave up waiting
 */
export type Outcome =
  | { readonly kind: 'answered'; readonly mark: Mark | undefined }
  | { readonly kind: 'failed'; readonly status: number; readonly code: number; readonly message: string }
  | { readonly kind: 'refused'; readonly message: string; readonly retryMs: number }
  | { readonly kind: 'cut'; readonly message: string }
  | { readonly kind: 'lost'; readonly message: string }
  | { readonly kind: 'unresumable'; readonly message: string }
  | { readonly kind: 'unanswered'; readonly message: string };

export interface Attempt {
  readonly key: string;
  readonly begunAt: number;
  readonly endedAt: number;
  readonly outcome: Outcome;
  /** How often its stream was taken up again. */
  readonly resumed: number;
  /** The numbers of the progress it brought, in order of arrival. */
  readonly progress?: readonly number[];
}

export interface Call {
  readonly session: string;
  readonly name: CallName;
  /** How long the tool takes by itself. */
  readonly ownMs: number;
  /** The steps a streaming call announces; the client must see each once. */
  readonly steps?: number;
  /** Made at the instant of the fault with this number, to see how long recovery takes. */
  readonly probe?: number;
  /** The last one counts; those before were cut or refused, and repeated. */
  readonly attempts: readonly Attempt[];
}

/** A message that came to a session and is not the answer of a call. */
export interface Heard {
  readonly session: string;
  readonly at: number;
  readonly what: 'progress' | 'elicitation' | 'announcement' | 'stray';
  readonly mark: Mark | undefined;
}

export interface FaultRecord {
  readonly n: number;
  readonly kind: FaultKind;
  readonly victim: string;
  readonly at: number;
  /** What was broken runs again, and all are ready. */
  readonly healedAt: number;
  /** What was open when it was healed has ended, and every session has called with success since. */
  readonly calmAt: number;
}

export interface History {
  readonly calls: readonly Call[];
  readonly heard: readonly Heard[];
  readonly faults: readonly FaultRecord[];
  readonly effects: readonly Effect[];
  /** Defects of the run itself: a process that did not start again, or did not stop when asked to. */
  readonly troubles: readonly string[];
}

export const beganAt = ({ attempts }: Call): number => attempts[0]?.begunAt ?? Number.NaN;
export const endedAt = ({ attempts }: Call): number => attempts.at(-1)?.endedAt ?? Number.NaN;
export const outcomeOf = ({ attempts }: Call): Outcome | undefined => attempts.at(-1)?.outcome;
export const succeeded = (call: Call): boolean => outcomeOf(call)?.kind === 'answered';
