/** An authorization server on this machine (oidc-provider), where a script signs in and says yes in place of a person. */
import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Provider, errors } from 'oidc-provider';

const SCOPES = ['mcp', 'mcp.write'];

export interface AuthorizationServerWorld {
  readonly issuer: string;
  /** Paths that were asked for, oldest first. */
  readonly asked: readonly string[];
  /** Who signs in from now on. */
  account: string;
  /** As a person with a browser: follows every redirect, signs in, agrees. Resolves with where the client is sent back to. */
  authorize(url: URL): Promise<URL>;
  close(): Promise<void>;
}

export interface AuthorizationServerOptions {
  /** The one resource that tokens are given out for. */
  readonly resource: string;
  /** Client id metadata documents by URL, as the web would serve them. */
  readonly documents?: Readonly<Record<string, object>>;
  /** Clients that are known without registering, in the names of the specification. */
  readonly clients?: readonly object[];
  /** A person signs in by a form, in a browser, as whom they write; agreeing takes nothing. */
  readonly form?: boolean;
}

export async function startAuthorizationServer({ resource, documents = {}, clients = [], form = false }: AuthorizationServerOptions): Promise<AuthorizationServerWorld> {
  const asked: string[] = [];
  let handle: (request: IncomingMessage, response: ServerResponse) => void = () => undefined;
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    handle(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(issuer, { ...configuration(resource, documents), clients });
  const world: AuthorizationServerWorld = {
    issuer,
    asked,
    account: 'ada',
    authorize: (url) => follow(url, issuer),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  const rest = provider.callback();
  handle = (request, response) => {
    // RFC 6749 §3.3: who asks for no scope gets one that was agreed on.
    if (request.url?.startsWith('/auth?') === true && !request.url.includes('&scope=')) request.url += `&scope=${SCOPES[0]}`;
    if (request.url?.startsWith('/interaction/') !== true) return rest(request, response);
    const agreeing = form ? signInByForm(provider, request, response, resource) : agree(provider, request, response, { account: world.account, resource });
    agreeing.catch((error: unknown) => response.writeHead(500).end(String(error)));
  };
  return world;
}

function configuration(resource: string, documents: Readonly<Record<string, object>>): object {
  return {
    cookies: { keys: ['a key for cookies of the tests'] },
    scopes: ['openid', 'offline_access', ...SCOPES],
    findAccount: (_context: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
    pkce: { required: () => true },
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    fetch: async (url: URL | string) => (documents[String(url)] === undefined ? new Response(null, { status: 404 }) : Response.json(documents[String(url)])),
    ttl: { AccessToken: 600, Grant: 3600, Interaction: 600, Session: 3600, RefreshToken: 3600, IdToken: 600 },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo(_context: unknown, indicator: string) {
          if (indicator !== resource) throw new errors.InvalidTarget();
          return { scope: SCOPES.join(' '), audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } } };
        },
      },
    },
  };
}

async function agree(provider: Provider, request: IncomingMessage, response: ServerResponse, { account, resource }: { account: string; resource: string }): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') return provider.interactionFinished(request, response, { login: { accountId: account } });
  const grant = new provider.Grant({ accountId: session?.accountId, clientId: params['client_id'] });
  const asked = String(params['scope'] ?? '').split(' ').filter((scope) => SCOPES.includes(scope)).join(' ');
  grant.addOIDCScope(`openid offline_access ${asked}`.trim());
  grant.addResourceScope(resource, asked);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

const FORM = '<!doctype html><title>Sign in</title><form method="post"><label>Name <input name="account"></label><button>Sign in</button></form>';

async function signInByForm(provider: Provider, request: IncomingMessage, response: ServerResponse, resource: string): Promise<void> {
  const { prompt } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login' && request.method === 'GET') return void response.writeHead(200, { 'content-type': 'text/html' }).end(FORM);
  const account = request.method === 'POST' ? new URLSearchParams(await text(request)).get('account') : undefined;
  return agree(provider, request, response, { account: account ?? '', resource });
}

const STEPS_MAX = 12;

interface Cookie {
  readonly path: string;
  readonly pair: string;
}

async function follow(start: URL, issuer: string): Promise<URL> {
  const cookies = new Map<string, Cookie>();
  const trail: string[] = [];
  let url = start;
  for (let step = 0; step < STEPS_MAX; step++) {
    if (url.origin !== issuer) return url;
    const { pathname } = url;
    trail.push(pathname);
    const sent = [...cookies.values()].flatMap(({ path, pair }) => (pathname.startsWith(path) ? [pair] : []));
    const response = await fetch(url, { redirect: 'manual', headers: { cookie: sent.join('; ') } });
    for (const text of response.headers.getSetCookie()) keep(cookies, text);
    const location = response.headers.get('location');
    if (location === null) throw new Error(`${url.href} answered ${response.status}: ${await response.text()}`);
    url = new URL(location, url);
  }
  throw new Error(`the authorization server redirects for ever: ${trail.join(' ')}`);
}

/** By name and path, as a browser does; one without a value is taken away. */
function keep(cookies: Map<string, Cookie>, text: string): void {
  const [pair = '', ...attributes] = text.split(/; */);
  const path = attributes.find((one) => one.toLowerCase().startsWith('path='))?.slice('path='.length) ?? '/';
  const key = `${pair.slice(0, pair.indexOf('='))} ${path}`;
  if (pair.endsWith('=')) cookies.delete(key);
  else cookies.set(key, { path, pair });
}
