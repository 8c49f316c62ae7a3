/** What stands in the way of asking servers with the token of whoever calls: seen when a document is loaded, before anybody calls. */
import { VALUE_SCOPE } from '#policies/rules/request-expression.ts';
import { CREDENTIAL_SCOPE } from '#policies/rules/request-scope.ts';
import { expressionProblem } from '#policies/rules/rule-set.ts';
import { samePlace, verifiedPlaces } from '#policies/tokens/places.ts';
import { callerSources } from '#protocol/config/backend-auth.ts';
import { type Generation, serversOf } from '#protocol/config/generation.ts';
import { type Language, speaking } from '#protocol/config/language.ts';
import { type ProblemWithoutPosition, problem } from '#protocol/config/problem.ts';
import { SESSION_KEY, isSessionKey, sealedPaths } from '#protocol/config/secret-paths.ts';
import type { RequestExpression } from '#protocol/config/request-expressions.ts';

/** How what is loaded will be served, as far as that is known. */
export interface Running {
  /** By one process that is the whole gateway. */
  readonly alone: boolean;
}

export const callerProblems = (generation: Generation, running: Running | undefined): ProblemWithoutPosition[] => [...sealProblems(generation, running), ...placeProblems(generation)];

/** Ingress seals with this key, and cannot open what is sealed in a document: written there, it would be published for all to read. */
export function sessionKeyProblems(document: unknown, running: Running | undefined): ProblemWithoutPosition[] {
  if (running?.alone === true || !sealedPaths(document).some(isSessionKey)) return [];
  return [problem(running === undefined ? 'warning' : 'error', SESSION_KEY, 'stands in the document itself, and ingress needs it: it is not published', 'only "parley up" can do with that: write $SESSION_KEY, and set it for policy, connector and ingress')];
}

/** Tokens of callers go from ingress to connectors sealed, and tokens that clients get by way of us to the policy service and back: between processes, with a key that both know. */
function sealProblems(generation: Generation, running: Running | undefined): ProblemWithoutPosition[] {
  if (generation.settings.sessionKey !== undefined || running?.alone === true) return [];
  const what = sealed(generation);
  if (what === undefined) return [];
  const message = `${what}: between processes it is sealed with config.session.key, which is missing`;
  return [problem(running === undefined ? 'warning' : 'error', ['config', 'session', 'key'], message, 'only "parley up" can do without: openssl rand -hex 32 makes one')];
}

function sealed({ binds, backends, authorizers }: Generation): string | undefined {
  for (const { name } of authorizers?.values() ?? []) return `the authorizer ${name} is asked with credentials, by a connector`;
  const speaking = [...backends.values()].flatMap(serversOf).find(({ auth }) => auth !== undefined && callerSources(auth).length > 0);
  if (speaking !== undefined) return `the target "${speaking.name}" is asked with a token of the caller`;
  const relaying = binds.flatMap(({ listeners }) => listeners.flatMap(({ routes }) => routes)).find(({ policies }) => relaysTokens(policies['mcpAuthentication']));
  return relaying && `each client of route ${relaying.name} gets its token by way of the gateway (provider entra)`;
}

function relaysTokens(mcpAuthentication: unknown): boolean {
  const { provider } = (mcpAuthentication ?? {}) as { readonly provider?: object | null };
  return provider != null && 'entra' in provider;
}

/** `passthrough` passes on the token that was verified: of several, nobody can say which. */
const placeProblems = ({ binds, backends, language }: Generation): ProblemWithoutPosition[] =>
  speaking(language, () =>
    binds.flatMap(({ listeners }) => listeners).flatMap((listener) => listener.routes.flatMap((route) => {
      const led = route.backends.flatMap(({ backend }) => backends.get(backend) ?? []);
      const passing = led.flatMap(serversOf).find(({ auth }) => auth?.token?.kind === 'passthrough');
      if (passing !== undefined && [listener, route].some(({ policies }) => policies['oidc'] != null)) return [nothingKept(route.name, passing.name)];
      const [first, ...others] = verifiedPlaces(listener.policies, route.policies);
      const other = others.find(({ location }) => first !== undefined && !samePlace(location, first.location));
      if (passing === undefined || first === undefined || other === undefined) return [];
      const message = `route ${route.name}: ${first.key} and ${other.key} verify tokens of two places, and the target "${passing.name}" has backendAuth.passthrough, which passes on one`;
      return [problem('error', [], message, 'read both in one place, or use backendAuth.oauthTokenExchange with a subjectToken.source')];
    })),
  );

const nothingKept = (route: string, target: string): ProblemWithoutPosition =>
  problem('error', [], `route ${route}: oidc keeps no token that could be passed on, and the target "${target}" has backendAuth.passthrough`, 'use another kind of backendAuth, or another policy to say who calls');

/** What servers are told of a request is read by expressions, whose language the document's own schema does not know. */
export const expressionProblems = (expressions: readonly RequestExpression[] = [], language?: Language): ProblemWithoutPosition[] =>
  speaking(language, () =>
    expressions.flatMap(({ path, source, use }) => {
      const message = expressionProblem(source, use === 'token' ? CREDENTIAL_SCOPE : VALUE_SCOPE);
      return message === undefined ? [] : [problem('error', path, message)];
    }),
  );
