/** What servers that are asked as their caller are to know of a request: its tokens, as far as they are for servers at all, and what expressions make of it. */
import { type CredentialLocation as Place, credentialReader } from '#policies/credential.ts';
import type { Facts, PolicyCall, PolicyDeps } from '#policies/policy.ts';
import { compileRequestExpression } from '#policies/rules/request-expression.ts';
import { requestVariables } from '#policies/rules/request-variables.ts';
import { type CallerSource, VERIFIED, sourceText } from '#protocol/config/credential-location.ts';

/**
 * A token that was verified, or that nobody here asked for, is the caller's to show. A credential that was for this gateway
 * (a key, a password) goes no further, and neither does a token that is no good.
 */
export const mayBeShown = ({ principal, jwt, apiKey, basicAuth }: Facts): boolean =>
  apiKey === undefined && basicAuth === undefined && (jwt !== undefined || principal === undefined);

/** By the text of each source, as far as it is there; undefined when nothing is. */
export type CallerReader = (call: PolicyCall, facts: Facts) => Record<string, string> | undefined;

type ReadOne = (call: PolicyCall, facts: Facts) => string | undefined;

/** @param verified where the token stands that is passed on as `VERIFIED`. @throws Error for an expression that was never looked at. */
export function callerReader(sources: readonly CallerSource[], deps: Pick<PolicyDeps, 'surroundings'>, verified?: Place): CallerReader {
  const readers = new Map(sources.map((source) => [sourceText(source), readerOf(source, deps)]));
  if (verified !== undefined) {
    const read = tokenReader(verified, deps);
    readers.set(VERIFIED, (call, facts) => read(call, facts) ?? '');
  }
  return (call, facts) => {
    let found: Record<string, string> | undefined;
    for (const [text, read] of readers) {
      const value = read(call, facts);
      if (value !== undefined) (found ??= {})[text] = value;
    }
    return found;
  };
}

function readerOf(source: CallerSource, deps: Pick<PolicyDeps, 'surroundings'>): ReadOne {
  if (source.in === 'value') {
    const evaluate = compileRequestExpression(source.expression);
    return (call, facts) => evaluate(requestVariables(call, facts, deps));
  }
  return tokenReader(placeOf(source), deps);
}

function tokenReader(place: Place, deps: Pick<PolicyDeps, 'surroundings'>): ReadOne {
  const read = credentialReader(place, deps);
  const computed = place.expression !== undefined;
  const header = place.header?.name.toLowerCase() ?? '';
  return (call, facts) => {
    // What a policy wrote is meant for servers, whatever the caller had to show here.
    const token = mayBeShown(facts) || call.written?.has(header) === true ? read(call, facts) : undefined;
    if (typeof token !== 'string') return undefined;
    const { refusedTokens = [] } = facts;
    // What an expression makes of one that is no good need not look like it.
    return refusedTokens.some((refused) => computed || token.includes(refused.reveal())) ? undefined : token;
  };
}

function placeOf(source: Exclude<CallerSource, { in: 'value' }>): Place {
  switch (source.in) {
    case 'header':
      return { header: { name: source.name, prefix: source.prefix } };
    case 'query':
      return { queryParameter: { name: source.name } };
    case 'cookie':
      return { cookie: { name: source.name } };
    case 'expression':
      return { expression: source.expression };
  }
}
