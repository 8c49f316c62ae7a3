/**
 * What the official suite knows of authorization, as far as it applies to a gateway. Its scenarios are about OAuth clients, and
 * about authorization servers; Parley is a resource server, mirrors the metadata of an authorization server, and is a client
 * where it exchanges tokens for a server behind it.
 */
import { fileURLToPath } from 'node:url';
import { startEverything } from '../fixtures/everything/main.ts';
import { type AuthorizationServerWorld, startAuthorizationServer } from '../world/authorization-server.ts';
import { startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type Check, REVISIONS, type Results, type Revision, runAuthorization, runClient } from './suite.ts';

const UPSTREAM_CLIENT = fileURLToPath(new URL('upstream-client.ts', import.meta.url));

export interface AuthRow {
  readonly scenario: string;
  /** What stands in the place of what the scenario tests. */
  readonly tested: string;
  readonly checks: readonly Check[];
  /** Why it fails, and is known to. */
  readonly known?: string;
}

/** Of `client`, with the reason why a gateway cannot take part. */
export const NOT_APPLICABLE: readonly (readonly [scenarios: string, why: string])[] = [
  ['auth/metadata-*, basic-cimd, scope-*, token-endpoint-auth-*, pre-registration, offline-access-*, iss-*, metadata-issuer-mismatch, authorization-server-migration, 2025-03-26-*',
    'they test how a client finds, and asks, an authorization server. The tokens of that server are words which only the server of the scenario can look up: a gateway that verifies tokens cannot stand in front of it, and one that passes challenges on would send clients to metadata of another resource than the one they asked'],
  ['auth/resource-mismatch', 'it requires clients to refuse just that'],
  ['auth/client-credentials-*, dpop, dpop-nonce', 'the configuration format has no such credentials for servers'],
];

export async function runAuth(signal: AbortSignal): Promise<AuthRow[]> {
  const rows: AuthRow[] = [];
  for (const revision of REVISIONS) rows.push(...(await asUpstreamClient(revision, signal)));
  return [...rows, ...(await asMirror(signal))];
}

const rowsOf = (results: Results, tested: string, known: Readonly<Record<string, string>> = {}): AuthRow[] =>
  [...results].map(([scenario, checks]) => ({ scenario, tested, checks, ...(known[scenario] === undefined ? {} : { known: known[scenario] }) }));

/** By the kind of `backendAuth`. */
const CLIENT_SCENARIOS = [['auth/wif-jwt-bearer', 'oauthTokenExchange'], ['auth/enterprise-managed-authorization', 'crossAppAccess']] as const;

async function asUpstreamClient(revision: Revision, signal: AbortSignal): Promise<AuthRow[]> {
  const rows: AuthRow[] = [];
  for (const [scenario, kind] of CLIENT_SCENARIOS) {
    const results = await runClient(`"${process.execPath}" "${UPSTREAM_CLIENT}"`, scenario, revision, signal);
    rows.push(...rowsOf(results, `Parley as client of a server, by ${kind} (${revision})`));
  }
  return rows;
}

const ISS = 'the server names itself as `iss` (RFC 9207), and not the mirror: clients that look at it are sent to the server itself, by leaving `provider` out';

async function asMirror(signal: AbortSignal): Promise<AuthRow[]> {
  const [port, callback] = [await freePort(), await freePort()];
  const resource = `http://127.0.0.1:${port}/mcp`;
  const [everything, server] = await Promise.all([startEverything(), startAuthorizationServer({ resource })]);
  const mcpAuthentication = { issuer: server.issuer, audiences: [resource], jwks: { url: `${server.issuer}/jwks` }, resourceMetadata: { scopesSupported: ['mcp'] } };
  const parley = await startParley({ config: { mcp: { port, policies: { mcpAuthentication }, targets: [{ name: 'everything', mcp: { host: everything.url } }] } } });
  try {
    const client = await register(`http://127.0.0.1:${port}/.well-known/oauth-authorization-server/mcp/client-registration`, callback);
    const run = (issuer: string): Promise<Results> =>
      runAuthorization(['--url', issuer, '--client-id', client, '--resource', resource, '--port', String(callback)], (url) => browse(server, url), signal);
    const direct = await run(server.issuer);
    return [...rowsOf(direct, 'the authorization server of the tests, direct'), ...rowsOf(await run(resource), 'its mirror at Parley', { 'authorization-code-grant': ISS })];
  } finally {
    await parley.stop();
    await Promise.all([server.close(), everything.close()]);
  }
}

async function browse(server: AuthorizationServerWorld, url: URL): Promise<void> {
  await fetch(await server.authorize(url));
}

/** By way of Parley, as clients do that ask only there. */
async function register(url: string, callback: number): Promise<string> {
  const body = JSON.stringify({ client_name: 'conformance', redirect_uris: [`http://127.0.0.1:${callback}/callback`], token_endpoint_auth_method: 'none', application_type: 'native' });
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const { client_id: client } = (await answer.json()) as { client_id?: string };
  if (client === undefined) throw new Error(`the client was not registered: ${answer.status}`);
  return client;
}
