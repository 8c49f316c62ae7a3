/** What stands in the way of logins by browser: seen when a document is loaded, before anybody is sent to a provider and never comes back. */
import type { Environment } from '#protocol/config/expand.ts';
import type { Bind, Generation, PolicyDocuments } from '#protocol/config/generation.ts';
import { type ProblemWithoutPosition, problem } from '#protocol/config/problem.ts';
import { type RouteHit, type RouteRequest, compileListeners, compileRoutes } from '#protocol/config/route-lookup.ts';
import { oidcSchema } from '#policies/logins/config.ts';
import type { Running } from './caller-problems.ts';

const COOKIE_KEY_VARIABLE = 'OIDC_COOKIE_SECRET';
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

export function loginProblems({ binds }: Pick<Generation, 'binds'>, running: Running | undefined, env: Environment): ProblemWithoutPosition[] {
  const places = binds.filter(logsIn).flatMap(({ listeners }) => {
    const lookup = compileRoutes(listeners);
    const listenerOf = compileListeners(listeners);
    return listeners.flatMap((listener) => [
      ...callbacksOf(listener.policies, `listener ${listener.name}`, ({ host }) => (listenerOf(host) === listener ? 'here' : undefined)),
      ...listener.routes.flatMap((route) => callbacksOf(route.policies, `route ${route.name}`, (url) => taken(lookup(callbackTo(url)), { listener, route }))),
    ]);
  });
  return places.length === 0 ? [] : [...keyProblems(running, env), ...places.flat()];
}

const logsIn = ({ listeners }: Bind): boolean => listeners.some(({ policies, routes }) => [policies, ...routes.map((route) => route.policies)].some((some) => some['oidc'] != null));

/** As a browser comes back, of which nothing else is known: what asks for a certain header does not get it. */
const callbackTo = ({ host, pathname: path, protocol }: URL): RouteRequest => ({ host, path, method: 'GET', headers: {}, query: 'code=c&state=s', scheme: protocol.slice(0, -1) });

/** Where a callback gets to: the place it is for, or the name of another route; undefined = nowhere. */
type Taken = 'here' | { readonly route: string } | undefined;

function taken(hit: RouteHit | undefined, { listener, route }: Pick<RouteHit, 'listener' | 'route'>): Taken {
  if (hit?.listener !== listener) return undefined;
  return hit.route === route ? 'here' : { route: hit.route.name };
}

/** One list for each policy there is. */
function callbacksOf(policies: PolicyDocuments, place: string, find: (url: URL) => Taken): ProblemWithoutPosition[][] {
  const redirectURI = oidcSchema.safeParse(policies['oidc']).data?.redirectURI;
  if (redirectURI === undefined) return [];
  const url = new URL(redirectURI);
  const key = `${place}: oidc.redirectURI`;
  const found = find(url);
  if (found === undefined) return [[problem('error', [], `${key}: a browser that comes back to it does not get here, so no login ends`, 'the host and path have to match where the policy stands')]];
  if (found !== 'here') return [[problem('error', [], `${key}: a browser that comes back to it gets to route ${found.route} instead, so no login ends`, 'give it a path that no other route takes')]];
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) return [[problem('warning', [], `${key}: by http whoever is on the way can take the login over`)]];
  return [[]];
}

/** Cookies are opened by whichever process a browser comes by. */
function keyProblems(running: Running | undefined, env: Environment): ProblemWithoutPosition[] {
  if ((env[COOKIE_KEY_VARIABLE] ?? '') !== '' || running?.alone === true) return [];
  const message = `oidc: the variable ${COOKIE_KEY_VARIABLE} is not set: ingress and policy services need the same key for the cookies of browsers`;
  return [problem(running === undefined ? 'warning' : 'error', [], message, 'only "parley up" can do without, and forgets who is logged in when it stops: openssl rand -hex 32 makes one')];
}
