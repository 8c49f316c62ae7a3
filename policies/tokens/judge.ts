/** Between a policy's configuration and verdicts and the verifier: what both policies that verify tokens say in the same way. */
import type { z } from 'zod';
import { Secret } from '#protocol/config/secret.ts';
import { type Facts, type PolicyDeps, type Rewrite, learned } from '../policy.ts';
import type { JwksConfig, jwtValidationOptions } from './config.ts';
import { issuerKeys } from './keys.ts';
import type { TokenProblem, TrustedIssuer, Verified } from './verifier.ts';

interface IssuerConfig {
  readonly issuer: string;
  readonly audiences?: readonly string[] | null | undefined;
  readonly jwks: JwksConfig;
  readonly jwtValidationOptions?: z.output<typeof jwtValidationOptions> | null | undefined;
}

/** @throws Fault `invalid` for keys in a file that is no good. */
export const trustedIssuer = (config: IssuerConfig, deps: Pick<PolicyDeps, 'file' | 'keys'>): TrustedIssuer => ({
  issuer: config.issuer,
  audiences: config.audiences ?? [],
  requiredClaims: config.jwtValidationOptions?.requiredClaims ?? ['exp'],
  keys: issuerKeys(config.jwks, deps),
});

/** @param known what policies before this one found out: the last that looked at a token has the last word of it. */
export function factsOf({ claims, principal }: Verified, token: string, { refusedTokens }: Facts): Facts {
  const verified = { jwt: claims, verifiedToken: new Secret(token) };
  const facts = principal === undefined ? verified : { principal, ...verified };
  return refusedTokens === undefined ? facts : { ...facts, refusedTokens: refusedTokens.filter((refused) => refused.reveal() !== token) };
}

/** The call goes on, and its token, which is no good, does not. */
export const goesOnWithout = (token: string, { refusedTokens = [] }: Facts): Rewrite => learned({ refusedTokens: [...refusedTokens, new Secret(token)] });

export interface Refusal {
  /** 401, or 503 when a good token would be refused too. */
  readonly status: number;
  /** What stands behind `<policy>/` in audit and metrics. */
  readonly reason: Exclude<TokenProblem, 'no-keys'>;
  readonly message: string;
}

const REFUSALS: Readonly<Record<TokenProblem, Refusal>> = {
  missing: { status: 401, reason: 'missing', message: 'a token is required' },
  expired: { status: 401, reason: 'expired', message: 'the token has expired' },
  early: { status: 401, reason: 'early', message: 'the token is not valid yet' },
  signature: { status: 401, reason: 'signature', message: 'the token is not signed as it must be' },
  issuer: { status: 401, reason: 'issuer', message: 'the token is of an issuer that is not trusted here' },
  audience: { status: 401, reason: 'audience', message: 'the token is not meant for this server' },
  claims: { status: 401, reason: 'claims', message: 'the token lacks a claim that is required' },
  key: { status: 401, reason: 'key', message: 'the token is signed with a key its issuer does not publish' },
  malformed: { status: 401, reason: 'malformed', message: 'this is not one token' },
  'too-long': { status: 401, reason: 'too-long', message: 'the token is too long' },
  busy: { status: 503, reason: 'busy', message: 'too many tokens are being verified; try again shortly' },
  'no-keys': { status: 503, reason: 'key', message: 'the keys of the issuer are not known yet; try again shortly' },
};

export const whyNot = (problem: TokenProblem): Refusal => REFUSALS[problem];
