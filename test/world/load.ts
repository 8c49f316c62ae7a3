/** Calls that go on while a test does something to what serves them, and how long the worst of them had to wait. */
import { setTimeout as delay } from 'node:timers/promises';
import { clock } from '#host/clock.ts';

/** A client that was told to come back does, a little sooner than it was told. */
const BACK_MS = 100;

/** Between two calls: NATS elects its leaders late on a machine that has no time for it. */
const PAUSE_MS = 20;

/** Thrown by a call that was not taken: 503, with Retry-After. */
export class NotTaken extends Error {}

export interface Calling {
  /** Calls answered so far. */
  readonly answered: number;
  /** Calls that were not taken, and tried again. */
  readonly notTaken: number;
  /** What failed, in the order it did. */
  readonly problems: readonly string[];
  /** The longest time between two answers, in ms; the current wait counts. */
  readonly longestGapMs: number;
  /** Lets the call under way finish. */
  stop(): Promise<void>;
}

/** Calls one after the other, with hardly a pause. @param call resolves when the answer is as it must be, and throws otherwise. */
export function keepCalling(call: () => Promise<void>): Calling {
  const problems: string[] = [];
  let answered = 0;
  let notTaken = 0;
  let longest = 0;
  let last = clock();
  let going = true;
  const running = (async () => {
    while (going) {
      try {
        await call();
        answered += 1;
        longest = Math.max(longest, clock() - last);
        await delay(PAUSE_MS);
        last = clock();
      } catch (error) {
        if (error instanceof NotTaken) {
          notTaken += 1;
          await delay(BACK_MS);
          continue;
        }
        problems.push(error instanceof Error ? error.message : String(error));
      }
    }
  })();
  return {
    get answered() {
      return answered;
    },
    get notTaken() {
      return notTaken;
    },
    problems,
    get longestGapMs() {
      return Math.max(longest, clock() - last);
    },
    stop: async () => {
      going = false;
      await running;
    },
  };
}
