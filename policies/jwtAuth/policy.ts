/**
 * Who calls, by a token (JWT) of an issuer the operator trusts: a claim set that later policies read, and a principal.
 *
 * The wire rules are those of RFC 6750: 401 with `WWW-Authenticate: Bearer`, and `error="invalid_token"` when there was a
 * token. The reason goes to audit and metrics, and in a few words to the caller; no part of the token goes anywhere.
 */
import { z } from 'zod';
import { BEARER, credentialReader, locationSchema } from '../credential.ts';
import { definePolicy, learned, pass } from '../policy.ts';
import type { CompiledPolicy, Deny, Facts, PolicyDeps, Verdict } from '../policy.ts';
import { audiences, issuer, jwks, jwtValidationOptions } from '../tokens/config.ts';
import { factsOf, goesOnWithout, trustedIssuer, whyNot } from '../tokens/judge.ts';
import { TokenVerifier } from '../tokens/verifier.ts';
import type { Judged, TokenProblem } from '../tokens/verifier.ts';

const PROVIDERS_MAX = 64;

const provider = z.strictObject({ issuer, audiences: audiences.nullish(), jwks, jwtValidationOptions: jwtValidationOptions.nullish() });

const schema = z
  .strictObject({
    mode: z.enum(['strict', 'optional', 'permissive']).optional(),
    location: locationSchema.optional(),
    ...provider.partial().shape,
    providers: z.array(provider).min(1, 'expected at least one provider').max(PROVIDERS_MAX, `at most ${PROVIDERS_MAX} providers`).optional(),
  })
  .superRefine(({ providers, ...rest }, context) => {
    if (providers === undefined) {
      for (const key of ['issuer', 'jwks'] as const) if (rest[key] === undefined) context.addIssue({ code: 'custom', path: [key], message: `${key} is required, unless there are providers` });
      return;
    }
    for (const key of ['issuer', 'audiences', 'jwks', 'jwtValidationOptions'] as const) {
      if (rest[key] != null) context.addIssue({ code: 'custom', path: [key], message: `either providers, or ${key} here` });
    }
    const issuers = providers.map((one) => one.issuer);
    const twice = issuers.findIndex((one, index) => issuers.indexOf(one) < index);
    if (twice >= 0) context.addIssue({ code: 'custom', path: ['providers', twice, 'issuer'], message: 'this issuer is in the list already: give it all its audiences and keys in one place' });
  });

type JwtAuthConfig = z.output<typeof schema>;

export const jwtAuth = definePolicy({ id: 'jwtAuth', schema, compile: compileJwtAuth });

function compileJwtAuth(config: JwtAuthConfig, deps: PolicyDeps): CompiledPolicy {
  const { mode = 'optional', providers, location: where } = config;
  const tokenIn = credentialReader(where ?? BEARER, deps);
  // The schema has seen to it that they are there.
  const verifier = new TokenVerifier((providers ?? [config as z.output<typeof provider>]).map((one) => trustedIssuer(one, deps)), deps.now);
  const onMissing: Verdict = mode === 'strict' ? refused('missing') : pass;
  const verdictOf = (judged: Judged, token: string, known: Facts): Verdict => {
    if ('bad' in judged) return mode === 'permissive' ? goesOnWithout(token, known) : refused(judged.bad);
    const facts = factsOf(judged.good, token, known);
    return facts.principal === undefined && mode !== 'permissive' ? refused('claims') : learned(facts);
  };
  return {
    apply(call, known) {
      const token = tokenIn(call, known);
      if (token === undefined) return onMissing;
      // Of several, none is shown to a server.
      if (typeof token !== 'string') return mode === 'permissive' ? pass : refused('malformed');
      const judged = verifier.verify(token);
      return judged instanceof Promise ? judged.then((late) => verdictOf(late, token, known)) : verdictOf(judged, token, known);
    },
  };
}

function refused(problem: TokenProblem): Deny {
  const { status, reason, message } = whyNot(problem);
  const challenge = problem === 'missing' ? 'Bearer' : 'Bearer error="invalid_token"';
  return { kind: 'deny', status, reason: `jwtAuth/${reason}`, message, responseHeaders: status === 401 ? [['www-authenticate', challenge]] : [['retry-after', '1']] };
}
