/**
 * Decisions that are used again, for as long as the operator says.
 *
 * D1 A key holds what the expressions gave, as a digest: tokens are not kept.
 * D2 What cannot be told apart (an expression that fails, a value that is a list or a map) is asked about each time.
 * D3 Failures are not decisions, and large ones are not kept: a cache is bounded in entries and in what one may hold.
 */
import { createHash } from 'node:crypto';
import { parseDuration } from '#protocol/config/duration.ts';
import type { Expression, Outcome } from '../cel/expression.ts';
import { PlainDuration } from '../cel/plain.ts';
import type { Activation } from '../cel/variables.ts';
import type { AuthorizerConfig } from './config.ts';
import type { Decision } from './decision.ts';
import { compiled, readsBody } from './expressions.ts';

const ENTRIES = 10_000;
const DECISION_CHARS_MAX = 16_384;

interface Kept {
  readonly decision: Decision;
  readonly until: number;
}

export class DecisionCache {
  readonly #key: readonly Expression[];
  readonly #ttl: Expression | number;
  readonly #entriesMax: number;
  readonly #now: () => number;
  /** The one used last is last. */
  readonly #kept = new Map<string, Kept>();

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

  /** @param variables of the call as the decision changed it. */
  put(key: string, decision: Decision, variables: () => Activation): void {
    if (decision.kind === 'denied' && decision.passing === true) return;
    const left = typeof this.#ttl === 'number' ? this.#ttl : this.#left(this.#ttl.evaluate(variables()));
    if (left === undefined || left <= 0 || sizeOf(decision) > DECISION_CHARS_MAX) return;
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size >= this.#entriesMax) this.#kept.delete(oldest);
    this.#kept.set(key, { decision, until: this.#now() + left });
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
