/** The server that a request is for, where its route leads to whichever that is. */
import type { Facts, PolicyCall, PolicyDeps } from '#policies/policy.ts';
import { compileRequestExpression } from '#policies/rules/request-expression.ts';
import { requestVariables } from '#policies/rules/request-variables.ts';
import type { DynamicTarget } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { serverOf } from './connect-target.ts';

/** As `host:port`. @throws Fault when there is none. */
export type ServerReader = (call: PolicyCall, facts: Facts) => string;

/** @throws Error for an expression that was never looked at. */
export function serverReader({ target }: DynamicTarget, deps: Pick<PolicyDeps, 'surroundings'>): ServerReader {
  if (target === undefined) return ({ host, scheme }) => serverOf(host, scheme === 'https' ? 'https' : 'http') ?? fail(new Fault('invalid', 'the request has to say which host it is for', { status: '400' }));
  const evaluate = compileRequestExpression(target);
  return (call, facts) => serverOf(evaluate(requestVariables(call, facts, deps)) ?? '') ?? fail(new Fault('upstream', 'which server this request is for cannot be told: dynamic.target makes no "host:port" of it', { reason: 'no-value' }));
}

/** What a loop is known by (RFC 9110 §7.6.3): processes of one configuration are one hop. */
export const viaOf = (generation: string): string => `parley-${generation.slice(0, 8)}`;

/** @param via as it came. */
export const wentBy = (via: string | undefined, own: string): boolean => via?.split(',').some((hop) => hop.trim().split(/\s+/)[1] === own) === true;

function fail(fault: Fault): never {
  throw fault;
}
