/** OAuth from end to end: the official client, a real authorization server, Parley between the client and an MCP server. `npm run test:auth` shows the steps. */
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { type AuthorizationServerWorld, startAuthorizationServer } from '../world/authorization-server.ts';
import { ScriptedOAuth } from '../world/oauth-client.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callOf, initializeOf, note, send } from '../world/wire.ts';

const CLIENT_DOCUMENT = 'https://client.example/oauth.json';
const say = (step: string): void => void (process.env['SHOW_STEPS'] === '1' && process.stdout.write(`  ${step}\n`));

let everything: Everything;
let server: AuthorizationServerWorld;
let parley: ParleyWorld;
let resource: string;

beforeAll(async () => {
  const port = await freePort();
  resource = `http://127.0.0.1:${port}/mcp`;
  const document = { client_id: CLIENT_DOCUMENT, client_name: 'documented', redirect_uris: ['http://localhost:9/callback'], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], token_endpoint_auth_method: 'none' };
  [everything, server] = await Promise.all([startEverything(), startAuthorizationServer({ resource, documents: { [CLIENT_DOCUMENT]: document } })]);
  const { issuer } = server;
  const mcpAuthentication = { issuer, audiences: [resource], jwks: { url: `${issuer}/jwks` }, resourceMetadata: { scopesSupported: ['mcp', 'mcp.write'] }, requiredScopes: { endpoint: ['mcp'], tools: { counter: ['mcp.write'] } } };
  parley = await startParley({ config: { mcp: { port, policies: { mcpAuthentication }, targets: [{ name: 'everything', mcp: { host: everything.url } }] } } });
});
afterAll(async () => {
  await parley?.stop();
  await Promise.all([server?.close(), everything?.close()]);
});

/** Connects as the client does: refused, sent to the authorization server, back with a code, and in. */
async function signIn(oauth: ScriptedOAuth, mode: 'legacy' | 'auto' = 'auto'): Promise<{ client: Client; transport: StreamableHTTPClientTransport }> {
  const connect = async () => {
    const client = new Client({ name: 'scripted', version: '1' }, { versionNegotiation: { mode } });
    const transport = new StreamableHTTPClientTransport(new URL(resource), { authProvider: oauth });
    return { client, transport, connected: client.connect(transport) };
  };
  const first = await connect();
  await expect(first.connected).rejects.toBeInstanceOf(UnauthorizedError);
  await first.transport.finishAuth(oauth.callback?.searchParams ?? new URLSearchParams());
  await first.client.close();
  const second = await connect();
  await second.connected;
  return second;
}

const echo = async (client: Client, message: string): Promise<unknown> => ((await client.callTool({ name: 'echo', arguments: { message } })).content as { text?: string }[])[0]?.text;

describe.each([
  ['registers', undefined, 'client registered'],
  ['is described by a document at its id', CLIENT_DOCUMENT, `client ${CLIENT_DOCUMENT}`],
])('a client that %s', (_, url, known) => {
  test('finds its way from nothing to a call, and to the next token', async () => {
    const oauth = new ScriptedOAuth(server, url);
    const { client } = await signIn(oauth);
    expect(await echo(client, 'in')).toBe('Echo: in');
    expect(oauth.steps).toEqual([known, `authorization with S256 for ${resource}, scope mcp offline_access`, 'tokens, with one to refresh']);
    const before = oauth.kept?.access_token;
    if (oauth.kept !== undefined) oauth.kept = { ...oauth.kept, access_token: 'no.good.any' };
    expect(await echo(client, 'on')).toBe('Echo: on');
    expect(oauth.kept?.access_token).not.toBe(before);
    for (const step of [...oauth.steps, 'a call with the refreshed token']) say(step);
    await client.close();
  });
});

describe.each(['legacy', 'auto'] as const)('a client in mode %s', (mode) => {
  test('that calls a tool its token is not good for is sent to get more, and the call succeeds', async () => {
    const oauth = new ScriptedOAuth(server, CLIENT_DOCUMENT);
    const { client, transport } = await signIn(oauth, mode);
    expect(oauth.kept?.scope).toBe('mcp');
    const call = async () => (await client.callTool({ name: 'counter', arguments: { key: `step-up ${mode}` } })).content;
    await expect(call()).rejects.toBeInstanceOf(UnauthorizedError);
    await transport.finishAuth(oauth.callback?.searchParams ?? new URLSearchParams());
    expect(await call()).toEqual([{ type: 'text', text: '1' }]);
    expect(oauth.steps.slice(3)).toEqual([`authorization with S256 for ${resource}, scope mcp mcp.write offline_access`, 'tokens, with one to refresh']);
    for (const step of ['403 insufficient_scope', ...oauth.steps.slice(3), `a call with the larger token, mode ${mode}`]) say(step);
    await client.close();
  });
});

test('a client that asks only here finds the authorization server, and can register by way of us', async () => {
  const mirror = `${new URL(resource).origin}/.well-known/oauth-authorization-server/mcp`;
  const { status, json } = await send(mirror, { method: 'GET' });
  expect([status, json]).toEqual([200, expect.objectContaining({ issuer: resource, token_endpoint: `${server.issuer}/token`, client_id_metadata_document_supported: true, code_challenge_methods_supported: ['S256'] })]);
  const body = { client_name: 'by way of us', redirect_uris: ['http://localhost:9/callback'], token_endpoint_auth_method: 'none' };
  const registered = await send(`${mirror}/client-registration`, { headers: { 'content-type': 'application/json' }, body });
  expect([registered.status, registered.json]).toEqual([201, expect.objectContaining({ client_id: expect.any(String), client_name: 'by way of us' })]);
});

test('a session of one subject is not there for another', async () => {
  const tokenOf = async (account: string): Promise<string> => {
    server.account = account;
    const oauth = new ScriptedOAuth(server, CLIENT_DOCUMENT);
    await (await signIn(oauth)).client.close();
    return oauth.kept?.access_token ?? '';
  };
  const [ada, bob] = [await tokenOf('ada'), await tokenOf('bob')];
  const opened = await send(resource, { headers: { authorization: `Bearer ${ada}` }, body: initializeOf() });
  const session = { 'mcp-session-id': String(opened.headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
  await send(resource, { headers: { ...session, authorization: `Bearer ${ada}` }, body: note('notifications/initialized') });
  const call = (token: string) => send(resource, { headers: { ...session, authorization: `Bearer ${token}` }, body: callOf('echo', { message: 'mine' }) });
  const unknown = await send(resource, { headers: { ...session, 'mcp-session-id': 'x'.repeat(32), authorization: `Bearer ${bob}` }, body: callOf('echo') });
  const theirs = await call(bob);
  expect([theirs.status, theirs.text]).toEqual([unknown.status, unknown.text]);
  expect((await call(ada)).status).toBe(200);
});

test('the keys of the authorization server were fetched once for all of this', () => {
  expect(server.asked.filter((path) => path === '/jwks')).toHaveLength(1);
});
