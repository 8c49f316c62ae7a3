/** What an OAuth resource says to whom it turns away (RFC 6750 §3, RFC 9728 §5.1, MCP authorization "Error Handling"). */
import type { Deny, PolicyCall } from '../policy.ts';
import { whyNot } from './judge.ts';
import { METADATA_PATH, baseOf } from './oauth.ts';
import type { OauthConfig } from './oauth.ts';
import type { TokenProblem } from './verifier.ts';

export interface Challenged {
  readonly oauth: OauthConfig;
  readonly call: PolicyCall;
  /** What a client should ask for. */
  readonly scopes: readonly string[];
}

/** No token, or one that is not good. */
export function unauthorized(problem: TokenProblem, challenged: Challenged): Deny {
  const { status, reason, message } = whyNot(problem);
  const missing = problem === 'missing';
  const body = missing ? { error: 'unauthorized', error_description: 'JWT token required' } : { error: 'invalid_token', error_description: message };
  const responseHeaders = status === 401 ? challenge(missing ? undefined : 'invalid_token', challenged) : ([['retry-after', '1']] as const);
  return { kind: 'deny', status, reason: `mcpAuthentication/${reason}`, message, content: json(body), responseHeaders };
}

/** The token is good, and not for this. */
export function insufficient(challenged: Challenged): Deny {
  const message = 'the token lacks a scope that this needs';
  const error = 'insufficient_scope';
  return { kind: 'deny', status: 403, reason: 'mcpAuthentication/scope', message, content: json({ error, error_description: message }), responseHeaders: challenge(error, challenged) };
}

const json = (body: object) => ({ type: 'application/json', text: JSON.stringify(body) });

function challenge(error: string | undefined, { oauth, call, scopes }: Challenged): Deny['responseHeaders'] {
  const base = baseOf(oauth, call);
  const path = call.path === '/' ? '' : call.path.replaceAll(/["\\]/g, (char) => encodeURIComponent(char));
  const parts = [
    ...(error === undefined ? [] : [`error="${error}"`]),
    ...(base === undefined ? [] : [`resource_metadata="${base}${METADATA_PATH}oauth-protected-resource${path}"`]),
    ...(scopes.length === 0 ? [] : [`scope="${scopes.join(' ')}"`]),
  ];
  return [['www-authenticate', parts.length === 0 ? 'Bearer' : `Bearer ${parts.join(', ')}`]];
}
