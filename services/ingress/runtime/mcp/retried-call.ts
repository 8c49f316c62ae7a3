/**
 * One call that is asked again when its first question was lost, or whoever held it died. What is asked next is a plan; what
 * makes it safe to ask is the planner's business.
 *
 *   asked ──fault──▶ remedy ──▶ asked again
 *     └──silent──▶ remedy ──▶ asked again, the first question still open
 *
 * T1 A remedy is looked for only while nothing of an answer has come: from its first frame on, an attempt is the call. A head
 *    is no part of the answer: whoever only said that it would be slow, and died, may be followed by another.
 * T2 Attempts that are open beside the one that answers are cancelled, so that whoever finds them later drops them.
 * T3 The newest attempt decides. A fault of an older one is of no interest while a newer is open or on its way.
 * T4 `seen` says that an older attempt has arrived after all: that one is waited for.
 * T5 What nobody holds after its last remedy is given up after GIVE_UP_MS.
 */
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';
import type { Call, Receiver } from '#host/bus/bus.ts';

const ATTEMPTS_MAX = 6;
/**
 * While nobody holds the call. NATS asks the member of a queue that is nearest, over and over again: until it finds that one
 * stopped, or cut off, which takes seconds, most attempts go the same way.
 */
const SILENT_ATTEMPTS_MAX = 9;
const GIVE_UP_MS = 3_000;
/** Before the third attempt, and twice as long before each that follows, to a limit: processes may be on their way to another NATS server. */
const PAUSE_MS = 50;
const PAUSE_MS_MAX = 400;
const AT_ONCE = 2;

/** silent: nobody says that they hold the call (bus.ts B7). */
export type Trouble = Fault | 'silent';

/** Whoever held the call died, or nobody ever did. Said of no process in particular, it is the last word about the call. */
export const isLost = (trouble: Trouble): boolean => trouble === 'silent' || (trouble.facts['reason'] === 'lost' && trouble.facts['instance'] !== undefined);

/**
 * Nobody serves what was asked, so it certainly did not run. Of a service that has several processes this is so for a moment
 * only, while they change to another NATS server: it is asked again as it was, and the pauses between attempts say how long.
 */
export const isAbsent = (trouble: Trouble): boolean => trouble !== 'silent' && trouble.facts['reason'] === 'no-responders';

export interface Planner<P> {
  ask(plan: P, receiver: Receiver): Call;
  /** What to ask next; undefined = nothing helps. A rejection ends the call. */
  remedy(trouble: Trouble, plan: P): P | Promise<P> | undefined;
  /** Which attempt is the one that answers, before its first frame is handed on. */
  answered?(plan: P): void;
}

export function callWithRemedies<P>(planner: Planner<P>, first: P, receiver: Receiver): Call {
  const call = new RetriedCall(planner, receiver);
  call.ask(first);
  return call;
}

class RetriedCall<P> implements Call {
  readonly planner: Planner<P>;
  readonly receiver: Receiver;
  /** Open attempts, oldest first. */
  readonly #open: Attempt<P>[] = [];
  #asked = 0;
  /** A remedy is on its way. */
  #looking = false;
  #answering: Attempt<P> | undefined;
  #over = false;
  #givingUp: NodeJS.Timeout | undefined;

  constructor(planner: Planner<P>, receiver: Receiver) {
    this.planner = planner;
    this.receiver = receiver;
  }

  cancel(): void {
    if (this.#over) return;
    this.#finish();
    for (const attempt of this.#open) attempt.call?.cancel();
  }

  ask(plan: P): void {
    this.#looking = false;
    this.#asked += 1;
    const attempt = new Attempt(this, plan);
    this.#open.push(attempt);
    attempt.call = this.planner.ask(plan, attempt);
    // What was given up while it was being asked.
    if (!this.#takes(attempt)) attempt.call.cancel();
  }

  /** True = the frame is for the receiver. */
  answering(attempt: Attempt<P>): boolean {
    if (this.#answering === attempt) return !this.#over;
    if (!this.#takes(attempt)) return false;
    this.#answering = attempt;
    clearTimeout(this.#givingUp);
    for (const other of this.#open.splice(0)) if (other !== attempt) other.call?.cancel();
    this.#open.push(attempt);
    this.planner.answered?.(attempt.plan);
    return true;
  }

  ended(): void {
    this.#finish();
  }

  failed(attempt: Attempt<P>, fault: Fault): void {
    const newest = this.#open.at(-1) === attempt;
    this.#open.splice(this.#open.indexOf(attempt), 1);
    if (this.#over) return;
    if (this.#answering === attempt && (attempt.spoke || fault.facts['reason'] !== 'lost')) return this.#fail(fault);
    if (this.#answering === attempt) this.#answering = undefined;
    if (this.#answering !== undefined || this.#looking || !newest) return;
    if (fault.facts['reason'] === 'seen') return this.#open.length > 0 ? this.#giveUpLater() : this.#fail(nobodyHolds());
    const remedy = this.#remedy(fault, attempt.plan);
    if (remedy === undefined) this.#fail(fault);
    else this.#proceed(remedy);
  }

  silent(attempt: Attempt<P>): void {
    if (this.#over || this.#answering !== undefined || this.#looking || this.#open.at(-1) !== attempt) return;
    const remedy = this.#remedy('silent', attempt.plan);
    if (remedy === undefined) this.#giveUpLater();
    else this.#proceed(remedy);
  }

  #takes(attempt: Attempt<P>): boolean {
    return !this.#over && (this.#answering === undefined || this.#answering === attempt);
  }

  #remedy(trouble: Trouble, plan: P): P | Promise<P> | undefined {
    return this.#asked < (trouble === 'silent' ? SILENT_ATTEMPTS_MAX : ATTEMPTS_MAX) ? this.planner.remedy(trouble, plan) : undefined;
  }

  #proceed(remedy: P | Promise<P>): void {
    const pauses = this.#asked - AT_ONCE;
    if (!(remedy instanceof Promise) && pauses < 0) return this.ask(remedy);
    this.#looking = true;
    const ready = pauses < 0 ? undefined : new Promise((resolve) => setTimeout(resolve, Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** pauses)));
    Promise.all([remedy, ready]).then(
      ([plan]) => {
        this.#looking = false;
        if (!this.#over && this.#answering === undefined) this.ask(plan);
      },
      (error: unknown) => {
        if (this.#answering === undefined) this.#fail(asFault(error));
      },
    );
  }

  #giveUpLater(): void {
    this.#givingUp ??= setTimeout(() => this.#fail(nobodyHolds()), GIVE_UP_MS);
  }

  #fail(fault: Fault): void {
    if (this.#over) return;
    this.#finish();
    for (const attempt of this.#open) attempt.call?.cancel();
    this.receiver.fail(fault);
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#givingUp);
  }
}

const nobodyHolds = (): Fault => new Fault('upstream', 'nobody is known to work on this call: whether it took effect is not known', { reason: 'lost' });

class Attempt<P> implements Receiver {
  readonly plan: P;
  call: Call | undefined;
  /** Part of its answer has come. */
  spoke = false;
  readonly #whole: RetriedCall<P>;

  constructor(whole: RetriedCall<P>, plan: P) {
    this.#whole = whole;
    this.plan = plan;
  }

  head(facts: StreamFacts): void {
    if (this.#whole.answering(this)) this.#whole.receiver.head?.(facts);
  }

  data(payload: Uint8Array): void | Promise<void> {
    this.spoke = true;
    return this.#whole.answering(this) ? this.#whole.receiver.data(payload) : undefined;
  }

  end(payload: Uint8Array, facts?: StreamFacts): void {
    if (!this.#whole.answering(this)) return;
    this.#whole.ended();
    this.#whole.receiver.end(payload, facts);
  }

  fail(fault: Fault): void {
    this.#whole.failed(this, fault);
  }

  silent(): void {
    this.#whole.silent(this);
  }
}
