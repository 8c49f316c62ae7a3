/** An expression that is asked for a text of a request, for whoever speaks to a server on behalf of its caller. */
import { RANDOM } from '../cel/evaluation.ts';
import { compileExpression } from '../cel/expression.ts';
import type { CapturePath } from '../cel/captures.ts';
import type { Activation, VariableName } from '../cel/variables.ts';
import { whyItStays } from './leaving.ts';

const VARIABLES: readonly VariableName[] = ['request', 'source', 'jwt', 'apiKey', 'basicAuth', 'extauthz', 'env', 'proxy'];

/** A `token` may be a credential of the request, a `value` must be none. */
export type RequestExpressionUse = 'token' | 'value';

/** What is wrong with one, before there is any request; undefined = nothing. */
export function requestExpressionProblem(source: string, use: RequestExpressionUse): string | undefined {
  const result = compileExpression(source, { deps: RANDOM, variables: VARIABLES });
  if (!result.ok) return `line ${result.problem.line}, column ${result.problem.column} of the expression: ${result.problem.message}`;
  const refuse = use === 'token' ? whyItIsGone : whyItStays;
  return result.expression.captures.paths.map(refuse).find((why) => why !== undefined);
}

/** Of what is forgotten once it was judged, or was never read. */
function whyItIsGone([variable, field]: CapturePath): string | undefined {
  if (variable === 'request' && field === 'body') return 'request.body is not read for this';
  if (variable === 'jwt' && field === 'rawToken') return 'jwt.rawToken is not kept: name the header, the query parameter or the cookie that the token comes in';
  return variable === 'apiKey' && field === 'key' ? 'apiKey.key is not kept: name the header, the query parameter or the cookie that the key comes in' : undefined;
}

/** Undefined where it fails or makes no text; numbers and truths are written out. @throws Error for a source that has problems. */
export function compileRequestExpression(source: string, use: RequestExpressionUse): (variables: Activation) => string | undefined {
  const result = compileExpression(source, { deps: RANDOM, variables: VARIABLES });
  if (!result.ok) throw new Error(result.problem.message);
  const { expression } = result;
  return (variables) => {
    const outcome = use === 'token' ? expression.evaluateUnredacted(variables) : expression.evaluate(variables);
    if (!outcome.ok) return undefined;
    const { value } = outcome;
    return typeof value === 'string' ? value : ['number', 'bigint', 'boolean'].includes(typeof value) ? String(value) : undefined;
  };
}
