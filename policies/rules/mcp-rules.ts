/** What a generation rules about MCP calls: for each route and backend, the rules of both put together. */
import { createHash } from 'node:crypto';
import type { Generation, PolicyDocuments } from '#protocol/config/generation.ts';
import { speaking } from '#protocol/config/language.ts';
import { type CallFacts, writeCallFacts } from '#protocol/subjects/call-facts.ts';
import type { CapturePath } from '../cel/captures.ts';
import type { Activation } from '../cel/variables.ts';
import { type McpRule, mcpRule } from './mcp-subject.ts';
import { joinPaths, pick } from './request-variables.ts';
import { type RulesDocument, compileRules, composeRules } from './rule-set.ts';

const KEY = 'mcpAuthorization';

/** What the rules of one route, at whichever of its backends, ask of a request. */
interface Asking {
  readonly paths: readonly CapturePath[];
  /** Stands for what is asked for, and which of its backends have rules (CallFacts). */
  readonly asks: string;
}

export class McpRules {
  readonly #rules = new Map<string, readonly McpRule[]>();
  readonly #asking = new Map<string, Asking>();
  /** By backend: its rules on all routes, as text. Backends without any are left out. */
  readonly #written = new Map<string, string>();

  /** Of documents that their schema let through. */
  constructor(generation: Pick<Generation, 'binds' | 'backends' | 'language'>) {
    speaking(generation.language, () => this.#compile(generation));
  }

  #compile({ binds, backends, language }: Pick<Generation, 'binds' | 'backends' | 'language'>): void {
    const routes = new Map(binds.flatMap(({ listeners }) => listeners.flatMap((listener) => listener.routes)).map((route) => [route.key, route]));
    const leading = new Map<string, string[]>();
    for (const [key, route] of routes) {
      const paths: CapturePath[] = [];
      const ruled: string[] = [];
      for (const { backend, policies } of route.backends) {
        const own = backends.get(backend)?.policies ?? {};
        const rules = composeRules([rulesOf(route.policies, 'route.'), rulesOf(policies, 'routeBackend.'), rulesOf(own, 'backend.')]);
        this.#rules.set(at(key, backend), rules);
        paths.push(...rules.flatMap(({ expression }) => expression.captures.paths.filter(([name]) => !OWN.has(name))));
        if (rules.length > 0) ruled.push(backend);
        leading.set(backend, [...(leading.get(backend) ?? []), JSON.stringify([key, rules.map(({ kind, expression }) => [kind, expression.source]), language?.customFunctions])]);
      }
      const joined = joinPaths(paths);
      this.#asking.set(key, { paths: joined, asks: wordFor([joined, ruled.toSorted()]) });
    }
    for (const [backend, written] of leading) {
      const ruled = [...routes.keys()].some((key) => (this.#rules.get(at(key, backend)) ?? []).length > 0);
      if (ruled) this.#written.set(backend, written.toSorted().join('\n'));
    }
  }

  /** Some route to this backend, or the backend itself, has rules. */
  concerns(backend: string): boolean {
    return this.#written.has(backend);
  }

  /** Empty when there is no such route to it. */
  of(route: string, backend: string): readonly McpRule[] {
    return this.#rules.get(at(route, backend)) ?? [];
  }

  /** Undefined when there is no such route. */
  asks(route: string): string | undefined {
    return this.#asking.get(route)?.asks;
  }

  /** What the connectors are told of a request on this route: the JSON of CallFacts. @throws Fault when it is too long. */
  facts(route: string, variables: Activation): string {
    const { paths, asks } = this.#asking.get(route) as Asking;
    const facts: CallFacts = { route, asks, known: withoutSecrets(pick(paths, variables)) };
    return writeCallFacts(facts);
  }

  /** Backends whose rules are not those of `before`. */
  changed(before: McpRules): readonly string[] {
    return [...new Set([...this.#written.keys(), ...before.#written.keys()])].filter((backend) => this.#written.get(backend) !== before.#written.get(backend));
  }
}

const ASKS_CHARS = 16;

/** The same in every process. */
const wordFor = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, ASKS_CHARS);

const at = (route: string, backend: string): string => `${route} ${backend}`;

/** What the connector knows itself. */
const OWN: ReadonlySet<string> = new Set(['mcp', 'backend']);

const rulesOf = (policies: PolicyDocuments, place: string): McpRule[] => (policies[KEY] == null ? [] : compileRules(policies[KEY] as RulesDocument, place).map(mcpRule));

/** A rule that asks for all of `jwt` or `apiKey` does not ask for the token: naming it is refused (mcpAuthorization). */
function withoutSecrets(known: Record<string, unknown>): Record<string, unknown> {
  for (const [name, secret] of SECRETS) {
    const value = known[name];
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, secret)) continue;
    known[name] = Object.fromEntries(Object.entries(value).filter(([key]) => key !== secret));
  }
  return known;
}

const SECRETS = [['jwt', 'rawToken'], ['apiKey', 'key']] as const;
