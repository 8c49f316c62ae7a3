/**
 * A tenant of Microsoft Entra on this machine, as far as clients of MCP get to see one: it has no registration and no RFC 8414, does
 * not say that it has PKCE, refuses `resource` (AADSTS9010010), and wants the secret of the client besides (AADSTS7000218).
 */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { keySet, makeKey } from './tokens.ts';

const TENANT = '/11111111-2222-3333-4444-555555555555';
const TOKEN_S = 600;

export interface EntraWorld {
  readonly issuer: string;
  /** Forms that the token endpoint got, oldest first. */
  readonly forms: readonly URLSearchParams[];
  /** Follows redirects, from wherever, to where the client is sent back to. */
  authorize(url: URL): Promise<URL>;
  close(): Promise<void>;
}

export interface EntraClient {
  readonly id: string;
  readonly secret: string;
  readonly redirectUri: string;
}

interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
}

const error = (code: string, why: string, status = 400): Answer => ({ status, body: { error: code, error_description: why } });

export async function startEntra(client: EntraClient): Promise<EntraWorld> {
  const key = await makeKey('RS256', 'entra-key');
  const codes = new Map<string, { readonly challenge: string; readonly scope: string }>();
  const refreshable = new Map<string, string>();
  const forms: URLSearchParams[] = [];
  let origin = '';
  const issuer = (): string => `${origin}${TENANT}/v2.0`;

  const metadata = (): Answer => ({
    body: {
      issuer: issuer(), authorization_endpoint: `${origin}${TENANT}/oauth2/v2.0/authorize`, token_endpoint: `${origin}${TENANT}/oauth2/v2.0/token`, jwks_uri: `${origin}${TENANT}/discovery/v2.0/keys`,
      response_types_supported: ['code'], token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'], scopes_supported: ['openid', 'offline_access'],
    },
  });

  function authorize(query: URLSearchParams): Answer {
    if (query.has('resource')) return error('invalid_target', 'AADSTS9010010: the resource parameter does not match the requested scopes');
    if (query.get('client_id') !== client.id) return error('unauthorized_client', 'AADSTS700016: there is no such application');
    if (query.get('redirect_uri') !== client.redirectUri) return error('invalid_request', 'AADSTS50011: the redirect URI is not one of the application');
    const code = randomUUID();
    codes.set(code, { challenge: query.get('code_challenge') ?? '', scope: query.get('scope') ?? '' });
    const back = new URL(client.redirectUri);
    back.searchParams.set('code', code);
    back.searchParams.set('state', query.get('state') ?? '');
    return { status: 302, headers: { location: back.href } };
  }

  async function token(form: URLSearchParams): Promise<Answer> {
    forms.push(form);
    if (form.has('resource')) return error('invalid_target', 'AADSTS9010010');
    if (form.get('client_secret') !== client.secret) return error('invalid_client', 'AADSTS7000218: the body must hold client_secret', 401);
    const code = codes.get(form.get('code') ?? '');
    codes.delete(form.get('code') ?? '');
    const scope = code?.scope ?? refreshable.get(form.get('refresh_token') ?? '');
    const proven = code === undefined || createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url') === code.challenge;
    if (scope === undefined || !proven) return error('invalid_grant', 'AADSTS70000');
    const refresh = `refresh-${randomUUID()}`;
    refreshable.set(refresh, scope);
    const exp = Math.floor(Date.now() / 1_000) + TOKEN_S;
    return { body: { access_token: await key.sign({ iss: issuer(), sub: 'ada', aud: `api://${client.id}`, exp, scp: 'mcp' }), token_type: 'Bearer', expires_in: TOKEN_S, scope, refresh_token: refresh } };
  }

  async function answer(request: IncomingMessage): Promise<Answer> {
    const { pathname, searchParams } = new URL(request.url ?? '', origin);
    if (pathname === `${TENANT}/v2.0/.well-known/openid-configuration`) return metadata();
    if (pathname === `${TENANT}/discovery/v2.0/keys`) return { body: JSON.parse(keySet(key)) as object };
    if (pathname === `${TENANT}/oauth2/v2.0/authorize`) return authorize(searchParams);
    if (pathname === `${TENANT}/oauth2/v2.0/token`) return token(new URLSearchParams(await textOf(request)));
    return { status: 404 };
  }

  const server = createServer((request, response) => void answer(request).then((one) => say(response, one)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    issuer: issuer(),
    forms,
    authorize: (url) => follow(url, client.redirectUri),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function say(response: ServerResponse, { status = 200, headers = {}, body }: Answer): void {
  response.writeHead(status, { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }).end(body === undefined ? '' : JSON.stringify(body));
}

const STEPS_MAX = 5;

async function follow(start: URL, redirectUri: string): Promise<URL> {
  let url = start;
  for (let step = 0; step < STEPS_MAX; step++) {
    if (url.href.startsWith(redirectUri)) return url;
    const answered = await fetch(url, { redirect: 'manual' });
    const location = answered.headers.get('location');
    if (location === null) throw new Error(`${url.origin}${url.pathname} answered ${answered.status}: ${await answered.text()}`);
    url = new URL(location, url);
  }
  throw new Error('redirected for ever');
}
