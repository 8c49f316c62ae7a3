/**
 * The scopes (RFC 6749 §3.3) that a request needs: those of the endpoint, and those of every name or pattern that fits what the
 * request is about. Ours, not the reference's (decision 24).
 *
 * N1 Needs add up: the order they are written in means nothing.
 * N2 What cannot be named needs the scopes of everything it might be.
 */
import { z } from 'zod';
import type { Request } from '#protocol/mcp/message.ts';
import type { Named } from '../rules/named.ts';
import { subjectOf, text } from '../rules/named.ts';

const SCOPES_MAX = 32;
const SCOPE_CHARS_MAX = 256;
const NAMES_MAX = 256;
const NAME_CHARS_MAX = 2048;

/** `scope-token` of RFC 6749 §3.3: also what may stand between quotes in a challenge. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
export const isScope = (value: unknown): value is string => typeof value === 'string' && value.length <= SCOPE_CHARS_MAX && SCOPE.test(value);

const scopes = z
  .array(z.string().refine(isScope, 'expected a scope: printable ASCII without spaces, quotes and backslashes'))
  .min(1, 'expected at least one scope')
  .max(SCOPES_MAX, `at most ${SCOPES_MAX} scopes`);

const name = z.string().min(1, 'expected a name or a pattern').max(NAME_CHARS_MAX).refine((value) => value.indexOf('*') === value.lastIndexOf('*'), 'expected at most one "*"');
const byName = z.record(name, scopes).refine((value) => Object.keys(value).length <= NAMES_MAX, `at most ${NAMES_MAX} names`).optional();

export const requiredScopes = z.strictObject({ endpoint: scopes.optional(), tools: byName, prompts: byName, resources: byName });

export type RequiredScopes = z.output<typeof requiredScopes>;

/** Names and patterns of one kind, and what each needs. */
type Needs = readonly { readonly fits: (name: string) => boolean; readonly scopes: readonly string[] }[];

const LISTEN = 'subscriptions/listen';

export class ScopesNeeded {
  /** By every request. */
  readonly endpoint: readonly string[];
  readonly #of: Readonly<Record<Named['kind'], Needs>>;

  constructor({ endpoint = [], tools, prompts, resources }: RequiredScopes = {}) {
    this.endpoint = endpoint;
    this.#of = { tool: needs(tools), prompt: needs(prompts), resource: needs(resources), task: [] };
  }

  /** Some request needs more than another. */
  get namesThings(): boolean {
    return Object.values(this.#of).some((some) => some.length > 0);
  }

  /** All that a request needs, without doubles. */
  by(request: Request): readonly string[] {
    const subjects = request.method === LISTEN ? heard(request) : [subjectOf(request)].filter((one) => one !== undefined);
    return [...new Set([...this.endpoint, ...subjects.flatMap((subject) => this.#needsOf(subject))])];
  }

  /** Scopes that mean something here, of those a token has. */
  known(granted: ReadonlySet<string>): string[] {
    const all = [...this.endpoint, ...Object.values(this.#of).flatMap((some) => some.flatMap((one) => one.scopes))];
    return [...new Set(all)].filter((scope) => granted.has(scope));
  }

  /** N2 */
  #needsOf({ kind, name: called }: Named): readonly string[] {
    const some = called === undefined ? Object.values(this.#of).flat() : this.#of[kind].filter(({ fits }) => fits(called));
    return some.flatMap((one) => one.scopes);
  }
}

/** What a subscription will tell of. */
function heard({ params }: Request): Named[] {
  const uris = (params?.['notifications'] as Record<string, unknown> | undefined)?.['resourceSubscriptions'];
  return Array.isArray(uris) ? uris.map((uri) => ({ kind: 'resource', name: text(uri) })) : [];
}

const needs = (written: RequiredScopes['tools']): Needs => Object.entries(written ?? {}).map(([pattern, needed]) => ({ fits: fitting(pattern), scopes: needed }));

/** A `*` stands for any run of characters. */
function fitting(pattern: string): (name: string) => boolean {
  const at = pattern.indexOf('*');
  if (at < 0) return (called) => called === pattern;
  const [start, end] = [pattern.slice(0, at), pattern.slice(at + 1)];
  return (called) => called.length >= start.length + end.length && called.startsWith(start) && called.endsWith(end);
}

/** As `scope` (RFC 9068 §2.2.3) or `scp` has them: words in one text, or a list. */
export function scopesOf(claims: Readonly<Record<string, unknown>>): ReadonlySet<string> {
  return new Set([claims['scope'], claims['scp']].flatMap((claim) => (typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [])).filter((one) => isScope(one)));
}
