/** What stands in the way of logins by browser: seen when a document is loaded, before anybody is sent to a provider and never comes back. */
import type { Environment } from '#protocol/config/expand.ts';
import type { Generation, Listener, PolicyDocuments, Route, RouteMatch } from '#protocol/config/generation.ts';
import { compilePattern } from '#protocol/config/pattern.ts';
import { type ProblemWithoutPosition, problem } from '#protocol/config/problem.ts';
import { oidcSchema } from '#policies/logins/config.ts';
import type { Running } from './caller-problems.ts';

const COOKIE_KEY_VARIABLE = 'OIDC_COOKIE_SECRET';
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

export function loginProblems({ binds }: Pick<Generation, 'binds'>, running: Running | undefined, env: Environment): ProblemWithoutPosition[] {
  const listeners = binds.flatMap((bind) => bind.listeners);
  const places = listeners.flatMap((listener) => [
    ...callbacksOf(listener.policies, `listener ${listener.name}`, (url) => covers(listener, url)),
    ...listener.routes.flatMap((route) => callbacksOf(route.policies, `route ${route.name}`, (url) => covers(listener, url) && reaches(route, url))),
  ]);
  return places.length === 0 ? [] : [...keyProblems(running, env), ...places.flat()];
}

/** One list for each policy there is. */
function callbacksOf(policies: PolicyDocuments, place: string, taken: (url: URL) => boolean): ProblemWithoutPosition[][] {
  const redirectURI = oidcSchema.safeParse(policies['oidc']).data?.redirectURI;
  if (redirectURI === undefined) return [];
  const url = new URL(redirectURI);
  const key = `${place}: oidc.redirectURI`;
  if (!taken(url)) return [[problem('error', [], `${key}: a browser that comes back to it does not get here, so no login ends`, 'the host and path have to match where the policy stands')]];
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) return [[problem('warning', [], `${key}: by http whoever is on the way can take the login over`)]];
  return [[]];
}

/** Cookies are opened by whichever process a browser comes by. */
function keyProblems(running: Running | undefined, env: Environment): ProblemWithoutPosition[] {
  if ((env[COOKIE_KEY_VARIABLE] ?? '') !== '' || running?.alone === true) return [];
  const message = `oidc: the variable ${COOKIE_KEY_VARIABLE} is not set: ingress and policy services need the same key for the cookies of browsers`;
  return [problem(running === undefined ? 'warning' : 'error', [], message, 'only "parley up" can do without, and forgets who is logged in when it stops: openssl rand -hex 32 makes one')];
}

const covers = ({ hostname }: Listener, { hostname: host }: URL): boolean => hostname === undefined || isHost(hostname, host);

const isHost = (pattern: string, host: string): boolean => (pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : pattern === '*' || pattern === host);

/** Whether the route takes the callback; another route of the listener may be more specific, which is not looked at here. */
const reaches = ({ hostnames, matches }: Route, url: URL): boolean =>
  (hostnames.length === 0 || hostnames.some((hostname) => isHost(hostname, url.hostname))) && matches.some((match) => takes(match, url));

function takes({ path, method, headers, query }: RouteMatch, { pathname }: URL): boolean {
  if ((method !== undefined && method !== 'GET') || headers.length > 0 || query.some(({ name }) => name !== 'code' && name !== 'state')) return false;
  if (path.kind === 'exact') return path.value === pathname;
  if (path.kind === 'regex') return compilePattern(path.value)(pathname);
  const prefix = path.value.replace(/\/+$/, '');
  return pathname === prefix || pathname.startsWith(`${prefix}/`);
}
