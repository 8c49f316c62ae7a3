/**
 * Asks a server of the operator's whether a call may go on. What it is told and what its answers mean is in
 * policies/authorizer; here is when it is asked, and what happens when it does not decide.
 *
 * Z1 Nobody goes on unasked: an expression that fails where it decides whether or how to ask denies.
 * Z2 What keeps an answer from us (no answer, none in time, one that cannot be used) is what `failureMode` is for, and deny
 *    unless told otherwise.
 * Z3 The body is read only if it is asked for, and no more of it than that; it stays there for whoever reads it next.
 */
import { calloutAt } from '#protocol/config/callout.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { AuthorizerTarget, CheckFailure } from '../authorizer/authorizer.ts';
import { DecisionCache } from '../authorizer/cache.ts';
import { Unusable, decisionOf } from '../authorizer/check.ts';
import { type AuthorizerConfig, type AuthorizersConfig, authorizerSchema } from '../authorizer/config.ts';
import { type Decision, verdictOf } from '../authorizer/decision.ts';
import { httpDecision } from '../authorizer/http-decision.ts';
import { type Told, checkRequest, httpQuestion } from '../authorizer/questions.ts';
import type { Expression } from '../cel/expression.ts';
import type { Activation } from '../cel/variables.ts';
import { definePolicy, deny, pass } from '../policy.ts';
import type { BodyPrefix, CompiledPolicy, Facts, Judging, PolicyCall, PolicyDeps, Verdict } from '../policy.ts';
import { byCondition, compileChoice } from '../rules/conditional.ts';
import { READ_BYTES_MAX, prefixOf, wholeOf } from '../rules/request-body.ts';
import { compiled, readsBody } from '../rules/request-values.ts';
import { requestVariables } from '../rules/request-variables.ts';

const TIMEOUT_MS = 2_000;
const BODY_BYTES = 8_192;
const FORBIDDEN = 403;
const TOO_LARGE = 413;
const FAILED = 'external authorization failed';
/** Z1: no condition is true, and one failed. */
const UNDECIDED = deny(FORBIDDEN, 'extAuthz/condition', FAILED);

export const extAuthz = definePolicy({ id: 'extAuthz', schema: authorizerSchema, compile });

function compile(config: AuthorizersConfig, deps: PolicyDeps): CompiledPolicy {
  const { conditional } = config;
  if (conditional == null) return new Check(config, deps);
  return byCondition(compileChoice(conditional, (entry: AuthorizerConfig) => new Check(entry, deps)), UNDECIDED, deps);
}

/** Asks, and says what the answer means. @throws Fault, Unusable. Undefined = what it needs cannot be made of this call. */
type Ask = (told: Told) => Promise<Decision | undefined>;

/** What a decision is kept by; undefined = it is not kept. */
interface Keeping {
  readonly key: string | undefined;
  /** For expressions. */
  readonly read: BodyPrefix | undefined;
}

class Check implements CompiledPolicy {
  readonly #deps: PolicyDeps;
  readonly #name: string;
  readonly #ask: Ask;
  readonly #cache: DecisionCache | undefined;
  /** For expressions. */
  readonly #readsBody: boolean;
  readonly #sent: { readonly max: number; readonly partial: boolean } | undefined;
  readonly #mode: 'allow' | number;

  constructor(config: AuthorizerConfig, deps: PolicyDeps) {
    const target = targetOf(config);
    const { protocol, includeRequestBody: sent, cache, failureMode } = config;
    this.#deps = deps;
    this.#name = target.callout.name;
    this.#ask = protocol?.http == null ? grpcAsk(config, target, deps) : httpAsk(config, target, deps);
    this.#cache = cache == null ? undefined : new DecisionCache(cache, deps.now);
    this.#readsBody = this.#cache?.readsBody === true || expressionsOf(config).some(readsBody);
    this.#sent = sent == null ? undefined : { max: sent.maxRequestBytes ?? BODY_BYTES, partial: sent.allowPartialMessage ?? false };
    this.#mode = failureMode === 'allow' ? 'allow' : typeof failureMode === 'object' && failureMode !== null ? failureMode.denyWithStatus : FORBIDDEN;
  }

  apply(call: PolicyCall, facts: Facts): Judging {
    if (this.#readsBody) return prefixOf(call, { id: 'extAuthz', max: READ_BYTES_MAX }, (read) => this.#judge(call, facts, read));
    return this.#judge(call, facts);
  }

  #judge(call: PolicyCall, facts: Facts, read?: BodyPrefix): Judging {
    const variables = requestVariables(call, facts, this.#deps, wholeOf(read));
    const key = this.#cache?.keyOf(variables);
    const known = key === undefined ? undefined : this.#cache?.get(key);
    if (known !== undefined) {
      this.#deps.authorizers.counted(this.#name, 'cached');
      return verdictOf(known);
    }
    const told = { call, facts, variables, body: undefined, nowMs: call.startedAtMs ?? this.#deps.now() };
    const sent = this.#sent;
    if (sent === undefined) return this.#decide(told, { key, read });
    return prefixOf(call, { id: 'extAuthz', max: sent.max }, (body) => {
      if (!body.complete && !sent.partial) return deny(TOO_LARGE, 'extAuthz/too-large', `the body is larger than ${sent.max} bytes`);
      return this.#decide({ ...told, body }, { key, read });
    });
  }

  async #decide(told: Told, { key, read }: Keeping): Promise<Verdict> {
    const ask = (): Promise<Decision | undefined> => this.#ask(told);
    try {
      if (this.#cache === undefined || key === undefined) return this.#say(await ask());
      const { decision, asked } = await this.#cache.decide(key, { ask, after: (made) => this.#after(told, verdictOf(made), read) });
      return this.#say(decision, asked);
    } catch (error) {
      return this.#failed(failureOf(error));
    }
  }

  #say(decision: Decision | undefined, asked = true): Verdict {
    if (decision === undefined) return deny(FORBIDDEN, 'extAuthz/expression', FAILED);
    this.#deps.authorizers.counted(this.#name, asked ? decision.kind : 'cached');
    return verdictOf(decision);
  }

  /** What expressions see once the verdict is obeyed. */
  #after({ call, facts }: Told, verdict: Verdict, read: BodyPrefix | undefined): Activation {
    if (verdict.kind !== 'rewrite' && verdict.kind !== 'deny') return {};
    const edits = verdict.kind === 'rewrite' ? verdict.requestEdits : undefined;
    return requestVariables(edits === undefined ? call : call.with(edits), { ...facts, ...verdict.facts }, this.#deps, wholeOf(read));
  }

  /** Z2 */
  #failed(failure: CheckFailure): Verdict {
    this.#deps.authorizers.counted(this.#name, failure);
    if (this.#mode !== 'allow') return deny(this.#mode, `extAuthz/${failure}`, FAILED);
    this.#deps.authorizers.counted(this.#name, 'allowed-failing');
    return pass;
  }
}

/** @throws what is a bug of ours. */
function failureOf(error: unknown): CheckFailure {
  if (error instanceof Unusable) return 'unusable';
  if (error instanceof Fault && error.code === 'timeout') return 'timeout';
  if (error instanceof Fault && error.code === 'upstream') return 'unavailable';
  throw error;
}

/** @throws Fault `invalid` for a name that nobody put a server for. */
function targetOf(config: AuthorizerConfig): AuthorizerTarget {
  const callout = config.callout ?? calloutAt(config);
  if ('problem' in callout) throw new Fault('invalid', `extAuthz: ${callout.problem}`);
  return { callout, timeoutMs: callout.reaching.timeoutMs ?? TIMEOUT_MS };
}

function grpcAsk({ protocol, includeRequestHeaders, includeRequestBody }: AuthorizerConfig, target: AuthorizerTarget, deps: PolicyDeps): Ask {
  const authorizer = deps.authorizers.grpc(target);
  const { context, metadata } = protocol?.grpc ?? {};
  const settings = { context: context ?? {}, metadata: metadata == null ? undefined : compiledEntries(metadata), headers: includeRequestHeaders ?? [], packAsBytes: includeRequestBody?.packAsBytes ?? false };
  return async (told) => decisionOf(await authorizer.check(checkRequest(settings, told)));
}

const AUTHORIZATION = ['authorization'];

function httpAsk({ protocol, includeRequestHeaders }: AuthorizerConfig, target: AuthorizerTarget, deps: PolicyDeps): Ask {
  const authorizer = deps.authorizers.http(target);
  const { path, body, redirect, includeResponseHeaders, addRequestHeaders, metadata } = protocol?.http ?? {};
  const headers = includeRequestHeaders == null || includeRequestHeaders.length === 0 ? AUTHORIZATION : includeRequestHeaders;
  const settings = { path: optional(path), body: optional(body), headers, added: compiledEntries(addRequestHeaders ?? {}) };
  const reading = { included: includeResponseHeaders ?? [], redirect: optional(redirect), metadata: compiledEntries(metadata ?? {}) };
  return async (told) => {
    const question = httpQuestion(settings, told);
    return question === undefined ? undefined : httpDecision(reading, await authorizer.send(question), told.variables);
  };
}

const optional = (source: string | null | undefined): Expression | undefined => (source == null ? undefined : compiled(source));

const compiledEntries = (sources: Readonly<Record<string, string>>): (readonly [string, Expression])[] => Object.entries(sources).map(([name, source]) => [name, compiled(source)]);

/** Those that make the question, or read the answer. */
function expressionsOf({ protocol }: AuthorizerConfig): Expression[] {
  const { path, body, redirect, addRequestHeaders, metadata } = protocol?.http ?? {};
  const sources = [path, body, redirect, ...Object.values(addRequestHeaders ?? {}), ...Object.values(metadata ?? {}), ...Object.values(protocol?.grpc?.metadata ?? {})];
  return sources.flatMap((source) => (source == null ? [] : [compiled(source)]));
}
