/**
 * The documents a client of an OAuth protected resource looks for: the resource's own (RFC 9728), and the authorization
 * server's (RFC 8414) for clients that ask here, with the registration of clients where the server's own is of no use to them.
 *
 *   /.well-known/oauth-protected-resource[/path]
 *   /.well-known/oauth-authorization-server[/path]
 *   /.well-known/oauth-authorization-server[/path]/client-registration
 *   /.well-known/oauth-authorization-server[/path]/authorize, /token      (relayed.ts)
 */
import { asFault } from '#protocol/faults/fault.ts';
import { deny } from '../policy.ts';
import type { Answer, AuthorizationServer, Content, Deny, HeaderList, Judging, PolicyCall } from '../policy.ts';
import type { Provider } from './providers.ts';
import { relayedAuthorization, relayedToken } from './relayed.ts';
import type { Relayed } from './relayed.ts';

export const METADATA_PATH = '/.well-known/';
const RESOURCE = `${METADATA_PATH}oauth-protected-resource`;
const SERVER = `${METADATA_PATH}oauth-authorization-server`;
const REGISTRATION = '/client-registration';
const AUTHORIZE = '/authorize';
const TOKEN = '/token';
const REGISTRATION_BYTES_MAX = 64 * 1024;
const REDIRECT_URIS_MAX = 32;

export interface OauthConfig {
  readonly issuer: string;
  readonly audience: string | undefined;
  readonly provider: Provider | undefined;
  /** The resource's own document, as the operator wrote it, in the names of the RFC. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Of a client that all use; undefined = clients register themselves. */
  readonly clientId: string | undefined;
}

const AUTHORITY = /^(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?$/;

/** Scheme and authority clients know us by; undefined when the request's own is none. */
export function baseOf({ metadata }: OauthConfig, { host, headers }: PolicyCall): string | undefined {
  if (typeof metadata['resource'] === 'string') return new URL(metadata['resource']).origin;
  const scheme = headers['x-forwarded-proto'] === 'https' ? 'https' : 'http';
  return AUTHORITY.test(host) ? `${scheme}://${host}` : undefined;
}

const ANYBODY: HeaderList = [
  ['access-control-allow-origin', '*'],
  ['access-control-allow-methods', 'GET, POST, OPTIONS'],
  ['access-control-allow-headers', 'authorization, content-type, mcp-protocol-version'],
  ['cache-control', 'no-store'],
];

const answer = (status: number, text: string): Answer => ({ kind: 'answer', status, headers: ANYBODY, content: { type: 'application/json', text } });
const refusal = (status: number, why: string, error: string): Deny => {
  const content: Content = { type: 'application/json', text: JSON.stringify({ error, error_description: why }) };
  return { ...deny(status, `mcpAuthentication/${error}`, why), content, responseHeaders: ANYBODY };
};

/** Serves what is below METADATA_PATH; undefined for a path that is none of these. */
export function authorizationServerOf(config: OauthConfig, server: AuthorizationServer): (call: PolicyCall) => Judging | undefined {
  return (call) => {
    const base = baseOf(config, call);
    const resource = below(RESOURCE, call.path);
    const mirrored = below(SERVER, call.path);
    if (resource === undefined && mirrored === undefined) return undefined;
    if (base === undefined) return refusal(400, 'the Host of this request is none', 'invalid_request');
    if (call.method === 'OPTIONS') return { kind: 'answer', status: 204, headers: ANYBODY };
    if (mirrored?.endsWith(REGISTRATION) === true) return call.method === 'POST' ? registered(config, server, call) : refusal(405, 'clients are registered by POST', 'invalid_request');
    if (config.provider?.refusesResource === true && mirrored !== undefined) {
      const relayed = relay(server, call, mirrored);
      if (relayed !== undefined) return relayed;
    }
    if (call.method !== 'GET') return refusal(405, 'this document is read by GET', 'invalid_request');
    if (resource !== undefined) return answer(200, JSON.stringify(resourceDocument(config, `${base}${resource}`)));
    return mirroredDocument(config, server, { base, path: mirrored ?? '' });
  };
}

/** The metadata of a resource that is called so has no query, and is not posted to. */
function relay(server: AuthorizationServer, call: PolicyCall, mirrored: string): Judging | undefined {
  if (mirrored.endsWith(TOKEN) && call.method === 'POST') return relayed(() => relayedToken(server, call));
  if (mirrored.endsWith(AUTHORIZE) && call.method === 'GET' && call.query !== '') return relayed(() => relayedAuthorization(server, call.query));
  return undefined;
}

async function relayed(ask: () => Promise<Relayed>): Promise<Answer | Deny> {
  try {
    const { status, text = '', location, why } = await ask();
    if (why !== undefined) return refusal(status, why, 'invalid_request');
    return location === undefined ? answer(status, text) : { kind: 'answer', status, headers: [...ANYBODY, ['location', location]] };
  } catch (error) {
    return unreachable(error);
  }
}

/** '' for the document of the whole host. */
function below(start: string, path: string): string | undefined {
  if (!path.startsWith(start)) return undefined;
  const rest = path.slice(start.length);
  return rest === '' || rest === '/' ? '' : rest.startsWith('/') ? rest : undefined;
}

/** Where a provider's own document would not do, clients are sent to the one that is mirrored here. */
function resourceDocument({ issuer, provider, metadata }: OauthConfig, url: string): object {
  return { resource: url, bearer_methods_supported: ['header'], authorization_servers: [provider === undefined ? issuer : url], ...metadata };
}

interface Place {
  readonly base: string;
  readonly path: string;
}

/** As its server gives it (client id metadata documents included), under the URL it is asked for at: RFC 8414 §3.3 has clients compare. */
async function mirroredDocument(config: OauthConfig, server: AuthorizationServer, { base, path }: Place): Promise<Answer | Deny> {
  try {
    const document = await server.metadata();
    const changes: Record<string, unknown> = { issuer: `${base}${path}` };
    const { provider, audience, clientId } = config;
    const { authorization_endpoint: endpoint, registration_endpoint: registration } = document;
    if (provider?.takesAudience === true && audience !== undefined && typeof endpoint === 'string' && URL.canParse(endpoint)) {
      const url = new URL(endpoint);
      url.searchParams.set('audience', audience);
      changes['authorization_endpoint'] = url.href;
    }
    if (provider?.refusesResource === true) Object.assign(changes, relayedEndpoints(`${base}${SERVER}${path}`, document));
    if (clientId !== undefined || (provider?.registersHere === true && registration !== undefined)) changes['registration_endpoint'] = `${base}${SERVER}${path}${REGISTRATION}`;
    return answer(200, JSON.stringify({ ...document, ...changes }));
  } catch (error) {
    return unreachable(error);
  }
}

/** PKCE is required of MCP's clients, and by them: a server that has it may not say so. */
const relayedEndpoints = (at: string, { code_challenge_methods_supported: methods = ['S256'] }: Readonly<Record<string, unknown>>): object => ({
  authorization_endpoint: `${at}${AUTHORIZE}`,
  token_endpoint: `${at}${TOKEN}`,
  code_challenge_methods_supported: methods,
});

async function registered({ clientId }: OauthConfig, server: AuthorizationServer, call: PolicyCall): Promise<Answer | Deny> {
  try {
    const bytes = (await call.body?.(REGISTRATION_BYTES_MAX)) ?? new Uint8Array(0);
    if (clientId === undefined) {
      const { status, text } = await server.register(bytes);
      return status < 400 ? answer(status, text) : { ...refusal(status, 'the authorization server refused the client', 'invalid_client_metadata'), content: { type: 'application/json', text } };
    }
    return sharedClient(clientId, new TextDecoder().decode(bytes));
  } catch (error) {
    return unreachable(error);
  }
}

function sharedClient(clientId: string, text: string): Answer | Deny {
  try {
    const { redirect_uris: uris } = JSON.parse(text) as { redirect_uris?: unknown };
    if (!Array.isArray(uris) || uris.length > REDIRECT_URIS_MAX || uris.some((uri) => typeof uri !== 'string')) return refusal(400, 'redirect_uris is expected to be a list', 'invalid_redirect_uri');
    const grants = { grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] };
    return answer(201, JSON.stringify({ client_id: clientId, redirect_uris: uris, token_endpoint_auth_method: 'none', ...grants }));
  } catch {
    return refusal(400, 'the body is not JSON', 'invalid_client_metadata');
  }
}

function unreachable(error: unknown): Deny {
  const fault = asFault(error);
  if (fault.code === 'bug') throw error;
  const tooLarge = fault.facts['status'] === '413';
  return refusal(tooLarge ? 413 : 502, tooLarge ? fault.message : 'the authorization server cannot be reached', tooLarge ? 'invalid_client_metadata' : 'temporarily_unavailable');
}
