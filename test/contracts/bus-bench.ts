/** What the contract of the bus is told with: the three roles, a receiver that writes down what it hears, and short words for asking. */
import { clock } from '#host/clock.ts';
import type { Asked, Bus, Meta, Question, Receiver, Serving } from '#host/bus/bus.ts';
import { z } from 'zod';
import type { Fault } from '#protocol/faults/fault.ts';
import { defineSubject } from '#protocol/subjects/define.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';

export interface Buses {
  readonly asker: Bus;
  readonly server: Bus;
  /** A third party, to forward to and to share a queue with. */
  readonly other: Bus;
  /** What handlers threw, as each bus reported it. */
  readonly bugs: unknown[];
  close(): Promise<void>;
}

const ask = defineSubject({ pattern: 'test.ask.{name}', owner: 'host', mode: 'call', meta: z.object({}).catchall(z.string().optional()), payload: 'a question', reply: 'an answer' });
const told = defineSubject({ pattern: 'test.told.{name}', owner: 'host', mode: 'event', meta: z.object({}).catchall(z.string().optional()), payload: 'a fact' });

export const SOON_MS = 20_000;
export const SHORT_MS = 150;
/** A deadline travels as what is left of it. */
export const CLOCKS_MS = 1_000;

export const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
export const text = (payload: Uint8Array): string => Buffer.from(payload).toString('utf8');
export const question = (payload = 'question', meta: Meta = {}, ms = SOON_MS): Question<Meta> => ({ payload: bytes(payload), meta, deadline: clock() + ms });
export const subjectOf = (name: string) => ask.to({ name });
export const eventOf = (name: string) => told.to({ name });

/** A receiver that writes down what it hears: `head …`, the frames, `end …` or the fault's code. */
export class Ear implements Receiver {
  readonly heard: string[] = [];
  readonly done: Promise<Fault | undefined>;
  hold: Promise<void> | undefined;
  #over!: (fault: Fault | undefined) => void;
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor() {
    this.done = new Promise((resolve) => (this.#over = resolve));
  }

  head(facts: StreamFacts): void {
    this.#note(`head ${facts.stream}`);
  }

  data(payload: Uint8Array): void | Promise<void> {
    this.#note(text(payload));
    return this.hold;
  }

  end(payload: Uint8Array, facts?: StreamFacts): void {
    this.#note(`end ${text(payload)}${facts === undefined ? '' : ` ${facts.stream}`}`);
    this.#over(undefined);
  }

  fail(fault: Fault): void {
    this.#note(fault.code);
    this.#over(fault);
  }

  /** Resolves when this many things have been heard. */
  count(count: number): Promise<void> {
    if (this.heard.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }

  #note(what: string): void {
    this.heard.push(what);
    for (const { count, resolve } of this.#waiting) if (this.heard.length >= count) resolve();
  }
}

/** The next question a bus is asked on a subject. */
export function nextAsked(bus: Bus, name: string): Promise<Asked<Meta>> {
  return new Promise((resolve) => bus.serve(subjectOf(name), resolve));
}

/** The buses of the test that runs, and what most tests do with them. */
export class Bench {
  #buses: Buses | undefined;

  async open(open: () => Promise<Buses>): Promise<void> {
    this.#buses = await open();
  }

  close(): Promise<void> {
    return this.#opened.close();
  }

  get asker(): Bus {
    return this.#opened.asker;
  }

  get server(): Bus {
    return this.#opened.server;
  }

  get other(): Bus {
    return this.#opened.other;
  }

  get bugs(): readonly unknown[] {
    return this.#opened.bugs;
  }

  get #opened(): Buses {
    if (this.#buses === undefined) throw new Error('no bus is open');
    return this.#buses;
  }

  /** What was subscribed is known to the broker. */
  async settled(): Promise<void> {
    for (const bus of new Set([this.asker, this.server, this.other])) await bus.flush();
  }

  async serve(name: string, handler: (asked: Asked<Meta>) => void, options: { bus?: Bus; queue?: string; max?: number } = {}): Promise<Serving> {
    const { bus = this.server, ...rest } = options;
    const serving = bus.serve(subjectOf(name), handler, rest);
    await this.settled();
    return serving;
  }

  call(name: string, asked: Question<Meta> = question()): { readonly ear: Ear } {
    const ear = new Ear();
    this.asker.call(subjectOf(name), asked, ear);
    return { ear };
  }
}
