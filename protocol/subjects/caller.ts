/** The tokens of whoever calls, on their way from ingress to a connector that speaks for them: sealed, never in clear (decision 18). */
import { z } from 'zod';

export const CALLER_META = z.string().optional().describe("a compact JWE of the caller's tokens, for a backend that is asked as its caller (caller.ts)");

/** Of all tokens of one call. */
export const CALLER_TOKENS_CHARS_MAX = 16_384;

/** What the JWE holds, beside its end (`exp`) and the backends it is for (`aud`). */
export const callerClaims = z.object({
  /** Key of the route the call came by. */
  route: z.string(),
  /** Tokens, and values of expressions: by the text of what they were read from (`sourceText`). */
  tokens: z.record(z.string(), z.string()),
});
