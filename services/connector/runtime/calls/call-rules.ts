/**
 * The rules of MCP calls (mcpAuthorization), asked about every call and every item of a list that goes through here.
 *
 * A1 The rules are those of the generation in force, for sessions of whatever age.
 * A2 Facts that were gathered for other rules decide nothing: their call is to be made again. So is one without facts where
 *    there are rules: processes take a new configuration within moments of each other, and not at once.
 * A3 What is denied does not exist: it is left out of lists, and refused in the words for a name that nobody has.
 * A4 A call that was judged goes on as it was read, written anew: a second key of the same name is nobody's loophole.
 */
import type { Activation } from '#policies/cel/variables.ts';
import { McpRules } from '#policies/rules/mcp-rules.ts';
import { type McpRule, type McpSubject, type Settled, judgeSubject } from '#policies/rules/mcp-subject.ts';
import { type Named, subjectOf } from '#policies/rules/named.ts';
import type { Denial } from '#policies/rules/rule-set.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, encode } from '#protocol/mcp/message.ts';
import { readCallFacts } from '#protocol/subjects/call-facts.ts';
import type { Item } from '../../core/lists.ts';
import { itemSubject, keyOfItems, pagesOf, withoutPages } from '../../core/list-subjects.ts';
import { unknown } from '../../core/unknown.ts';
import type { Cut } from './client-answer.ts';
import type { Filter } from './listen.ts';
import type { Visible } from './multiplexer.ts';
import { UpstreamCall } from '../targets/upstream.ts';

/** Of all backends, as this process has them. */
export class CallRules {
  #rules = new McpRules({ binds: [], backends: new Map() });
  /** What rules call a backend: the same on every route, in whatever way its targets are reached. */
  #names: ReadonlyMap<string, string> = new Map();

  /** Backends whose rules are others from now on. */
  enter(generation: Generation): readonly string[] {
    const before = this.#rules;
    this.#rules = new McpRules(generation);
    this.#names = new Map([...generation.backends.values()].map(({ key, variantOf }) => [key, variantOf ?? key]));
    return this.#rules.changed(before);
  }

  /** Who judges a call to this backend; undefined when there are no rules. @throws Fault `overloaded` (A2) */
  judge(backend: string, facts: string | undefined): CallJudge | undefined {
    if (facts === undefined) {
      if (this.#rules.concerns(backend)) throw otherRules();
      return undefined;
    }
    const { route, asks, known } = readCallFacts(facts);
    if (this.#rules.asks(route) !== asks) throw otherRules();
    return new CallJudge(this.#rules.of(route, backend), { ...known, backend: { name: this.#names.get(backend) ?? backend, type: 'mcp', protocol: 'mcp' } });
  }
}

const otherRules = (): Fault => new Fault('overloaded', 'the rules of this gateway are being changed; try again shortly', { reason: 'other-rules' });

/** How many were left out. */
type Hidden = (count: number) => void;

/** What is denied does not exist (A3). */
export interface Refused {
  readonly denial: Denial;
  readonly fault: Fault;
}

/** Of one call. */
export class CallJudge {
  readonly #rules: readonly McpRule[];
  readonly #known: Activation;
  readonly #settled: Settled = new Map();

  constructor(rules: readonly McpRule[], known: Activation) {
    this.#rules = rules;
    this.#known = known;
  }

  /** The call as it goes on to its target, or why it does not. @param asked the same in the client's words. */
  admit(target: string, call: UpstreamCall, asked: UpstreamCall): UpstreamCall | Refused {
    const named = subjectOf(call.request);
    if (named === undefined) return call;
    const denial = this.#denial(named, { target, method: call.method, listed: false });
    if (denial !== undefined) return { denial, fault: refusal(named, asked) };
    return new UpstreamCall({ ...call, payload: encode(call.request), request: call.request });
  }

  /** A `subscriptions/listen` without what its caller may not hear of. */
  listening(target: string, call: UpstreamCall): UpstreamCall {
    const filter = (call.request.params?.['notifications'] ?? {}) as Filter;
    const hearable = this.hearable(target, filter);
    if (hearable === filter) return call;
    const request = { ...call.request, params: { ...call.request.params, notifications: hearable } };
    return new UpstreamCall({ ...call, payload: encode(request), request });
  }

  /** The filter itself when all of it may be heard. */
  hearable(target: string, filter: Filter): Filter {
    let kept = filter;
    for (const [key, kind] of HEARD) {
      const { [key]: names, ...rest } = kept;
      if (!Array.isArray(names)) continue;
      const may = names.filter((name) => this.#denial({ kind, name: typeof name === 'string' ? name : undefined }, { target, method: LISTEN, listed: false }) === undefined);
      if (may.length < names.length) kept = may.length === 0 ? rest : { ...rest, [key]: may };
    }
    return kept;
  }

  /** For lists over several targets. */
  lister(method: string, hidden: Hidden): Visible {
    return (target, items) => {
      const kept = this.#visible(method, target, items);
      hidden(items.length - kept.length);
      return kept;
    };
  }

  /** How the answer of one target to this method is to be cut; undefined when it is no list. */
  cut(method: string, target: string, hidden: Hidden): Cut | undefined {
    const key = keyOfItems(method);
    if (key === undefined) return undefined;
    const visible = this.lister(method, hidden);
    return (response) => {
      const items = response.result?.[key];
      if (!Array.isArray(items)) return response;
      return { ...response, result: { ...response.result, [key]: visible(target, items as Item[]) } };
    };
  }

  /** The items of a list that its caller may see. */
  #visible(method: string, target: string, items: readonly Item[]): readonly Item[] {
    const place = { target, method, listed: true };
    const kept = items.filter((item) => this.#denial(itemSubject(method, item), place) === undefined);
    return method === 'tools/list' ? kept.map((tool) => this.#withVisiblePages(tool, target)) : kept;
  }

  #withVisiblePages(tool: Item, target: string): Item {
    const place = { target, method: 'resources/read', listed: true };
    const denied = pagesOf(tool).some((name) => this.#denial({ kind: 'resource', name }, place) !== undefined);
    return denied ? withoutPages(tool) : tool;
  }

  #denial({ kind, name, arguments: given }: Named, place: Pick<McpSubject, 'target' | 'method' | 'listed'>): Denial | undefined {
    if (name === undefined) return NAMELESS;
    return judgeSubject(this.#rules, { ...place, kind, name, arguments: given }, this.#known, this.#settled);
  }
}

/** As for what nobody has. */
function refusal({ kind, name }: Named, asked: UpstreamCall): Fault {
  if (kind === 'task') return new Fault('invalid', `Unknown task: ${String(asked.request.params?.['taskId'])}`, { rpc: String(CODE.invalidParams) });
  if (kind === 'resource' && name === undefined) return new Fault('invalid', 'Resource not found', { rpc: String(CODE.invalidParams) });
  return unknown(asked);
}

const LISTEN = 'subscriptions/listen';
const HEARD = [['resourceSubscriptions', 'resource'], ['taskIds', 'task']] as const;

const NAMELESS: Denial = { why: 'no-allow', rule: undefined };
