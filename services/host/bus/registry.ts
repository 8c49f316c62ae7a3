/** Who serves and listens in this process. Subjects are concrete, so a Map is the whole router. */
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { Producer } from './answer.ts';
import type { Asked, Incoming, Meta, ServeOptions } from './bus.ts';

/** Open answers of one handler when it names no limit of its own. */
const OPEN_ANSWERS_MAX = 10_000;

export type Handler = (message: Asked<Meta>) => void;
export type Listener = (message: Incoming<Meta>) => void;

interface Listening {
  readonly listener: Listener;
  readonly queue: string | undefined;
}

export interface Served {
  dispatch(message: Incoming<Meta>, producer: Producer): void;
}

export class Registry {
  readonly #served = new Map<string, Served[]>();
  readonly #listeners = new Map<string, Listening[]>();
  readonly #onBug: (error: unknown, subject: string) => void;
  #turn = 0;
  #open = 0;
  #idle: (() => void)[] = [];

  constructor(onBug: (error: unknown, subject: string) => void) {
    this.#onBug = onBug;
  }

  serve(subject: string, handler: Handler, options: ServeOptions | undefined): { served: Served; remove(): void } {
    const served = this.#bounded(handler, options?.max ?? OPEN_ANSWERS_MAX);
    return { served, remove: add(this.#served, subject, served) };
  }

  listen(subject: string, listener: Listener, queue: string | undefined): () => void {
    return add(this.#listeners, subject, { listener, queue });
  }

  /** One of the handlers of a subject in this process, in turn. */
  pick(subject: string): Served | undefined {
    const served = this.#served.get(subject);
    return served && served[this.#turn++ % served.length];
  }

  /** One member of the queues that share a subject in this process, in turn. */
  pickQueued(subject: string): Listener | undefined {
    const queued = this.#listeners.get(subject)?.filter((one) => one.queue !== undefined);
    return queued && queued.length > 0 ? queued[this.#turn++ % queued.length]?.listener : undefined;
  }

  /** Those who hear everything on a subject. */
  unqueued(subject: string): readonly Listener[] {
    return (this.#listeners.get(subject) ?? []).filter((one) => one.queue === undefined).map((one) => one.listener);
  }

  hear(listener: Listener, message: Incoming<Meta>): void {
    try {
      listener(message);
    } catch (error) {
      this.#onBug(error, message.subject);
    }
  }

  /** Resolves when no answer is open any more. */
  idle(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #bounded(handler: Handler, max: number): Served {
    let open = 0;
    return {
      dispatch: (message, producer) => {
        if (open >= max) return producer.fail(new Fault('overloaded', `${max} answers are open already`, { limit: String(max) }));
        open += 1;
        this.#open += 1;
        producer.whenClosed(() => {
          open -= 1;
          if (--this.#open === 0) this.#idle.splice(0).forEach((resolve) => resolve());
        });
        try {
          handler(asked(message, producer));
        } catch (error) {
          producer.fail(this.fault(error, message.subject));
        }
      },
    };
  }

  fault(error: unknown, subject: string): Fault {
    const fault = asFault(error);
    if (fault.code === 'bug') this.#onBug(fault, subject);
    return fault;
  }
}

const asked = (message: Incoming<Meta>, answer: Producer): Asked<Meta> => ({
  subject: message.subject,
  payload: message.payload,
  meta: message.meta,
  deadline: message.deadline,
  traceparent: message.traceparent,
  answer,
});

function add<T>(map: Map<string, T[]>, subject: string, item: T): () => void {
  const items = map.get(subject);
  if (items) items.push(item);
  else map.set(subject, [item]);
  return () => {
    const left = map.get(subject)?.filter((other) => other !== item) ?? [];
    if (left.length > 0) map.set(subject, left);
    else map.delete(subject);
  };
}

export const noResponders = (subject: string): Fault =>
  new Fault('gone', `nobody serves ${subject}`, { reason: 'no-responders', subject });
