/** What stands in the way of asking servers with the token of whoever calls: seen when a document is loaded, before anybody calls. */
import { locationSchema } from '#policies/credential.ts';
import { VALUE_SCOPE } from '#policies/rules/request-expression.ts';
import { REQUEST_SCOPE } from '#policies/rules/request-scope.ts';
import { expressionProblem } from '#policies/rules/rule-set.ts';
import { callerSources } from '#protocol/config/backend-auth.ts';
import { BEARER } from '#protocol/config/credential-location.ts';
import type { Generation, McpHttpTarget, PolicyDocuments } from '#protocol/config/generation.ts';
import { type Language, speaking } from '#protocol/config/language.ts';
import { type ProblemWithoutPosition, problem } from '#protocol/config/problem.ts';
import type { RequestExpression } from '#protocol/config/request-expressions.ts';

/** How what is loaded will be served, as far as that is known. */
export interface Running {
  /** By one process that is the whole gateway. */
  readonly alone: boolean;
}

export const callerProblems = (generation: Generation, running: Running | undefined): ProblemWithoutPosition[] => [...sealProblems(generation, running), ...placeProblems(generation)];

/** Tokens of callers go from ingress to connectors sealed, and tokens that clients get by way of us to the policy service and back: between processes, with a key that both know. */
function sealProblems(generation: Generation, running: Running | undefined): ProblemWithoutPosition[] {
  if (generation.settings.sessionKey !== undefined || running?.alone === true) return [];
  const what = sealed(generation);
  if (what === undefined) return [];
  const message = `${what}: between processes it is sealed with config.session.key, which is missing`;
  return [problem(running === undefined ? 'warning' : 'error', ['config', 'session', 'key'], message, 'only "parley up" can do without: openssl rand -hex 32 makes one')];
}

function sealed({ binds, backends }: Generation): string | undefined {
  const speaking = [...backends.keys()].flatMap((key) => targetsOf({ backends }, key)).find(({ auth }) => auth !== undefined && callerSources(auth).length > 0);
  if (speaking !== undefined) return `the target "${speaking.name}" is asked with a token of the caller`;
  const relaying = binds.flatMap(({ listeners }) => listeners.flatMap(({ routes }) => routes)).find(({ policies }) => relaysTokens(policies['mcpAuthentication']));
  return relaying && `each client of route ${relaying.name} gets its token by way of the gateway (provider entra)`;
}

function relaysTokens(mcpAuthentication: unknown): boolean {
  const { provider } = (mcpAuthentication ?? {}) as { readonly provider?: object | null };
  return provider != null && 'entra' in provider;
}

/** The policies that verify a token, and the key under which each says where it stands. */
const VERIFYING = { jwtAuth: 'location', mcpAuthentication: 'authorizationLocation' } as const;

/** `passthrough` takes the token of the Authorization header: where another one was verified, nobody has verified that. */
function placeProblems({ binds, backends }: Generation): ProblemWithoutPosition[] {
  return binds.flatMap(({ listeners }) => listeners).flatMap((listener) => listener.routes.flatMap((route) => {
    const passing = route.backends.flatMap(({ backend }) => targetsOf({ backends }, backend)).find(({ auth }) => auth?.token?.kind === 'passthrough');
    const elsewhere = [listener.policies, route.policies].flatMap((policies) => [...verifiedElsewhere(policies), ...(policies['oidc'] == null ? [] : ['oidc'])]);
    if (passing === undefined) return [];
    return elsewhere.map((key) => problem(
      'error',
      [],
      `route ${route.name}: ${key} verifies a token that is not in "Authorization: Bearer", and the target "${passing.name}" has backendAuth.passthrough, which passes on the one that is`,
      'take the location away (oidc has none: it keeps no token), or use backendAuth.oauthTokenExchange with that place as its subjectToken.source',
    ));
  }));
}

function verifiedElsewhere(policies: PolicyDocuments): string[] {
  return Object.entries(VERIFYING).flatMap(([id, key]) => {
    const location = (policies[id] as Readonly<Record<string, unknown>> | null | undefined)?.[key];
    return location === undefined || isBearer(location) ? [] : [`${id}.${key}`];
  });
}

/** The prefix is a scheme, whose name knows no case (RFC 9110 §11.1). */
function isBearer(location: unknown): boolean {
  const header = locationSchema.safeParse(location).data?.header;
  return BEARER.in === 'header' && header?.name.toLowerCase() === BEARER.name && header.prefix?.toLowerCase() === BEARER.prefix.toLowerCase();
}

const targetsOf = ({ backends }: Pick<Generation, 'backends'>, key: string): McpHttpTarget[] =>
  (backends.get(key)?.targets ?? []).flatMap((target) => (target.kind === 'mcp' ? [target] : []));

/** What servers are told of a request is read by expressions, whose language the document's own schema does not know. */
export const expressionProblems = (expressions: readonly RequestExpression[] = [], language?: Language): ProblemWithoutPosition[] =>
  speaking(language, () =>
    expressions.flatMap(({ path, source, use }) => {
      const message = expressionProblem(source, use === 'token' ? REQUEST_SCOPE : VALUE_SCOPE);
      return message === undefined ? [] : [problem('error', path, message)];
    }),
  );
