/**
 * Decisions that are used again, for as long as the operator says.
 *
 * D1 A key holds what the expressions gave, as a digest: tokens are not kept.
 * D2 What cannot be told apart (an expression that fails, a value that is a list or a map) is asked about each time.
 * D3 Failures are not decisions, and large ones are not kept: a cache is bounded in entries and in what one may hold.
 * D4 What is asked for at the same time is asked once: those who come later wait for what the first is told. A decision that is
 *    not kept is nobody else's, and each of them asks then; a failure is shared by those who waited for it, and by no others.
 */
import { createHash } from 'node:crypto';
import { parseDuration } from '#protocol/config/duration.ts';
import type { Expression, Outcome } from '../cel/expression.ts';
import { PlainDuration } from '../cel/plain.ts';
import type { Activation } from '../cel/variables.ts';
import type { AuthorizerConfig } from './config.ts';
import type { Decision } from './decision.ts';
import { compiled, readsBody } from '../rules/request-values.ts';

const ENTRIES = 10_000;
const DECISION_CHARS_MAX = 16_384;

interface Kept {
  readonly decision: Decision;
  readonly until: number;
}

interface Deciding {
  /** Undefined = there was nothing to ask. */
  readonly ask: () => Promise<Decision | undefined>;
  /** What expressions see of the call once the decision is obeyed. */
  readonly after: (decision: Decision) => Activation;
}

interface Decided {
  readonly decision: Decision | undefined;
  /** False = somebody else had asked. */
  readonly asked: boolean;
}

export class DecisionCache {
  readonly #key: readonly Expression[];
  readonly #ttl: Expression | number;
  readonly #entriesMax: number;
  readonly #now: () => number;
  /** The one used last is last. */
  readonly #kept = new Map<string, Kept>();
  /** What is being asked for; undefined = it is not kept. */
  readonly #asking = new Map<string, Promise<Decision | undefined>>();

  constructor({ key, ttl, maxEntries }: NonNullable<AuthorizerConfig['cache']>, now: () => number) {
    this.#key = key.map(compiled);
    this.#ttl = parseDuration(ttl) ?? compiled(ttl);
    this.#entriesMax = maxEntries == null || maxEntries === 0 ? ENTRIES : maxEntries;
    this.#now = now;
  }

  get readsBody(): boolean {
    return this.#key.some(readsBody) || (typeof this.#ttl !== 'number' && readsBody(this.#ttl));
  }

  /** Undefined = this call is like no other (D2). */
  keyOf(variables: Activation): string | undefined {
    if (this.#key.length === 0) return undefined;
    const digest = createHash('sha256');
    for (const expression of this.#key) {
      const part = partOf(expression.evaluateUnredacted(variables));
      if (part === undefined) return undefined;
      digest.update(`${part.length}:${part}`);
    }
    return digest.digest('base64');
  }

  get(key: string): Decision | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    if (this.#now() >= kept.until) return undefined;
    this.#kept.set(key, kept);
    return kept.decision;
  }

  /** D4. @throws as `ask` does. */
  async decide(key: string, { ask, after }: Deciding): Promise<Decided> {
    const flying = this.#asking.get(key);
    // Not awaited where there is none: another would come in between.
    const theirs = flying === undefined ? undefined : await flying;
    if (theirs !== undefined) return { decision: theirs, asked: false };
    const asking = ask();
    const kept = asking.then((decision) => (decision !== undefined && this.#keep(key, decision, () => after(decision)) ? decision : undefined));
    this.#asking.set(key, kept);
    const over = (): void => void (this.#asking.get(key) === kept && this.#asking.delete(key));
    kept.then(over, over);
    return { decision: await asking, asked: true };
  }

  /** @param variables of the call as the decision changed it. */
  #keep(key: string, decision: Decision, variables: () => Activation): boolean {
    if (decision.kind === 'denied' && decision.passing === true) return false;
    const left = typeof this.#ttl === 'number' ? this.#ttl : this.#left(this.#ttl.evaluate(variables()));
    if (left === undefined || left <= 0 || sizeOf(decision) > DECISION_CHARS_MAX) return false;
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size >= this.#entriesMax) this.#kept.delete(oldest);
    this.#kept.set(key, { decision, until: this.#now() + left });
    return true;
  }

  /** Milliseconds. A number is a moment, in seconds since the epoch. */
  #left(outcome: Outcome): number | undefined {
    const value = outcome.ok ? outcome.value : undefined;
    if (value instanceof PlainDuration) return value.durationMs;
    if (value instanceof Date) return value.getTime() - this.#now();
    return typeof value === 'number' && Number.isFinite(value) ? value * 1000 - this.#now() : undefined;
  }
}

function partOf(outcome: Outcome): string | undefined {
  if (!outcome.ok) return undefined;
  const { value } = outcome;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('base64')}`;
  if (value === null || typeof value !== 'object') return `${typeof value} ${String(value)}`;
  return undefined;
}

function sizeOf(decision: Decision): number {
  const content = decision.kind === 'denied' ? (decision.content?.text.length ?? 0) : 0;
  const edits = decision.kind === 'allowed' ? decision.requestEdits : [];
  return content + JSON.stringify([edits, decision.responseHeaders, decision.metadata]).length;
}
