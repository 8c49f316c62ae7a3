/**
 * One client with its session, and what it does all day: a mix of calls one after the other, and probes when a fault begins.
 *
 * S1 What may not run twice is sent once, whatever becomes of it. What may is repeated when it was cut or refused, and then
 *    under a key of its own.
 * S2 A session that was lost is written down, and replaced by a new one with a marker of its own.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { clock } from '#host/clock.ts';
import type { Hears, Replied } from './client.ts';
import type { Attempt, Call, Outcome } from './history.ts';
import type { Journal } from './journal.ts';
import { ANSWER_MS } from './judge.ts';
import type { Random, Weighted } from './random.ts';
import { isTool, safetyOf, type CallName, type Mark, type ToolName } from './tools.ts';

/** How a client of any kind is asked to do things. */
export interface Peer {
  open(withinMs: number): Promise<Outcome>;
  call(tool: ToolName, args: Readonly<Record<string, unknown>>, withinMs: number): Promise<Replied>;
  setLevel(level: string, withinMs: number): Promise<Replied>;
  close(): Promise<void>;
}

export type OpenPeer = (hears: Hears) => Peer;

const MIX: readonly Weighted<ToolName>[] = [
  { weight: 30, value: 'fast' },
  { weight: 20, value: 'add' },
  { weight: 15, value: 'read' },
  { weight: 15, value: 'slow' },
  { weight: 10, value: 'streaming' },
  { weight: 5, value: 'eliciting' },
  { weight: 5, value: 'announce' },
];

/** Some stay below the time after which a call is kept in a log (200 ms), most of these do not. */
const TOOL_MS_MAX = 1_500;
const STEPS_MAX = 8;
/** A person thinks before answering. */
const ELICITED_MS_MAX = 400;
const PAUSE_MS_MIN = 50;
const REPEAT_MS = 50;
const LEVELS = ['debug', 'info'] as const;

export interface SessionOptions {
  /** Its place among the clients: part of its markers. */
  readonly name: string;
  readonly random: Random;
  readonly journal: Journal;
  readonly openPeer: OpenPeer;
  /** On average between two calls. */
  readonly pauseMs: number;
}

interface Asking {
  readonly name: CallName;
  readonly ms: number;
  readonly steps?: number;
  readonly probe?: number;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #progress = new Map<string, number[]>();
  #peer: Peer | undefined;
  #generation = 0;
  #keys = 0;
  #stopping = false;
  #work = Promise.resolve();
  #asking: Promise<unknown> = Promise.resolve();
  #reopening: Promise<void> | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** The marker of the session open now. */
  get marker(): string {
    return `${this.#options.name}.${this.#generation}`;
  }

  /** @throws Error when no session could be opened at all. */
  async open(probe?: number): Promise<void> {
    const peer = await this.#open(probe);
    if (peer === undefined) throw new Error(`${this.marker} could not open a session: ${JSON.stringify(this.#options.journal.calls.at(-1)?.attempts.at(-1)?.outcome)}`);
    this.#peer = peer;
  }

  start(): void {
    this.#work = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#work;
    await this.#peer?.close();
  }

  /** A read-only call, now, beside whatever else goes on. True = it succeeded. */
  probe(fault?: number): Promise<boolean> {
    return this.#ask({ name: 'read', ms: 0, ...(fault === undefined ? {} : { probe: fault }) });
  }

  /** A write of the session's record, now. */
  probeDurably(fault: number): Promise<boolean> {
    return this.#ask({ name: 'setLevel', ms: 0, probe: fault });
  }

  /** The call it is at, if it is at one, has ended. */
  async idle(): Promise<void> {
    await this.#asking;
  }

  async #run(): Promise<void> {
    const { random, pauseMs } = this.#options;
    await wait(random.between(0, pauseMs * 2));
    while (!this.#stopping) {
      this.#asking = this.#ask(this.#next());
      await this.#asking;
      await wait(random.between(PAUSE_MS_MIN, 2 * pauseMs - PAUSE_MS_MIN));
    }
  }

  #next(): Asking {
    const { random } = this.#options;
    const name = random.pickWeighted(MIX);
    switch (name) {
      case 'add':
      case 'slow':
      case 'read':
        return { name, ms: random.between(0, 3) === 0 ? random.between(0, TOOL_MS_MAX) : 0 };
      case 'streaming':
        return { name, ms: random.between(0, TOOL_MS_MAX), steps: random.between(1, STEPS_MAX) };
      case 'eliciting':
        return { name, ms: ELICITED_MS_MAX };
      case 'fast':
      case 'announce':
        return { name, ms: 0 };
    }
  }

  async #ask({ name, ms, steps, probe }: Asking): Promise<boolean> {
    const session = this.marker;
    const until = clock() + ANSWER_MS + ms;
    const attempts: Attempt[] = [];
    for (;;) {
      const attempt = await this.#attempt({ name, ms, ...(steps === undefined ? {} : { steps }) }, until);
      attempts.push(attempt);
      if (!isRepeated(name, attempt.outcome) || clock() >= until) break;
      await wait(attempt.outcome.kind === 'refused' ? attempt.outcome.retryMs : REPEAT_MS);
    }
    const call: Call = { session, name, ownMs: ms, attempts, ...(steps === undefined ? {} : { steps }), ...(probe === undefined ? {} : { probe }) };
    this.#options.journal.calls.push(call);
    const last = attempts.at(-1)?.outcome;
    if (last?.kind === 'lost') await this.#replace(session);
    return last?.kind === 'answered';
  }

  async #attempt({ name, ms, steps }: Asking, until: number): Promise<Attempt> {
    const peer = this.#peer as Peer;
    const { marker } = this;
    this.#keys += 1;
    const key = `${marker}-${this.#keys}`;
    const progress: number[] = [];
    if (steps !== undefined) this.#progress.set(key, progress);
    const begunAt = clock();
    const withinMs = Math.max(1, Math.ceil(until - begunAt));
    const { outcome, resumed } = isTool(name)
      ? await peer.call(name, { marker, key, ms, ...(steps === undefined ? {} : { steps }) }, withinMs)
      : await peer.setLevel(this.#options.random.pick(LEVELS), withinMs);
    this.#progress.delete(key);
    return { key, begunAt, endedAt: clock(), outcome, resumed, ...(steps === undefined ? {} : { progress }) };
  }

  /** S2: many calls may find the same session lost. */
  #replace(lost: string): Promise<void> {
    if (this.marker !== lost) return Promise.resolve();
    this.#reopening ??= this.#reopen().finally(() => (this.#reopening = undefined));
    return this.#reopening;
  }

  async #reopen(): Promise<void> {
    await this.#peer?.close();
    await this.open();
  }

  async #open(probe: number | undefined): Promise<Peer | undefined> {
    const { journal, openPeer } = this.#options;
    this.#generation += 1;
    const session = this.marker;
    const until = clock() + ANSWER_MS;
    const attempts: Attempt[] = [];
    let peer: Peer;
    for (;;) {
      peer = openPeer(this.#hears(session));
      const begunAt = clock();
      const outcome = await peer.open(Math.max(1, Math.ceil(until - begunAt)));
      attempts.push({ key: `${session}-open`, begunAt, endedAt: clock(), outcome, resumed: 0 });
      if (!isRepeated('initialize', outcome) || clock() >= until) break;
      void peer.close();
      await wait(outcome.kind === 'refused' ? outcome.retryMs : REPEAT_MS);
    }
    journal.calls.push({ session, name: 'initialize', ownMs: 0, attempts, ...(probe === undefined ? {} : { probe }) });
    return attempts.at(-1)?.outcome.kind === 'answered' ? peer : undefined;
  }

  #hears(session: string): Hears {
    const { journal, random } = this.#options;
    const hear = (what: 'progress' | 'elicitation' | 'announcement' | 'stray', mark: Mark | undefined): void => {
      journal.heard.push({ session, at: clock(), what, mark });
    };
    return {
      progress: (mark, key, progress) => {
        hear('progress', mark);
        this.#progress.get(mark?.key ?? key)?.push(progress);
      },
      announcement: (mark) => hear('announcement', mark),
      elicitation: async (mark) => {
        hear('elicitation', mark);
        await wait(random.between(0, ELICITED_MS_MAX));
        return mark;
      },
      stray: () => hear('stray', undefined),
      lost: (message) => {
        const at = clock();
        const attempts: Attempt[] = [{ key: `${session}-stream`, begunAt: at, endedAt: at, outcome: { kind: 'lost', message }, resumed: 0 }];
        if (!this.#stopping) journal.calls.push({ session, name: 'read', ownMs: 0, attempts });
      },
    };
  }
}

const isRepeated = (name: CallName, { kind }: Outcome): boolean => safetyOf(name) === 'safe' && (kind === 'cut' || kind === 'refused');
