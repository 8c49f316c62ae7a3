/** Entra, by a stand-in: the official client authorizes, and gets tokens, by way of a gateway of two processes; what they say to each other is listened to. */
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { type NatsConnection, connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { type EntraWorld, startEntra } from '../world/entra.ts';
import { type NatsWorld, startNats } from '../world/nats.ts';
import { ScriptedOAuth } from '../world/oauth-client.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { send } from '../world/wire.ts';

const CLIENT = { id: 'app-1', secret: 'kept-to-itself', redirectUri: 'http://localhost:9/callback' };
const SESSION_KEY = '5e'.repeat(32);

let everything: Everything;
let entra: EntraWorld;
let nats: NatsWorld;
let policy: ParleyWorld;
let parley: ParleyWorld;
let listening: NatsConnection;
let resource: string;
const heard: string[] = [];

beforeAll(async () => {
  const port = await freePort();
  resource = `http://127.0.0.1:${port}/mcp`;
  [everything, entra, nats] = await Promise.all([startEverything(), startEntra(CLIENT), startNats()]);
  listening = await connect({ servers: nats.url });
  listening.subscribe('>', { callback: (_, { subject, headers, data }) => void heard.push(`${subject} ${String(headers ?? '')} ${Buffer.from(data).toString('utf8')}`) });
  await listening.flush();
  const mcpAuthentication = {
    issuer: entra.issuer, audiences: [`api://${CLIENT.id}`, CLIENT.id], provider: { entra: {} }, clientId: CLIENT.id, clientSecret: '$ENTRA_SECRET', resourceMetadata: { resource, scopesSupported: ['mcp'] },
  };
  const config = { config: { session: { key: '$SESSION_KEY' } }, mcp: { port, policies: { mcpAuthentication }, targets: [{ name: 'everything', mcp: { host: everything.url } }] } };
  policy = await startParley({ config, services: ['policy'], role: 'policy', nats, env: { SESSION_KEY, ENTRA_SECRET: CLIENT.secret } });
  // Who gives out no tokens has no secret, and starts all the same.
  parley = await startParley({ services: ['session', 'connector', 'ingress'], role: 'ingress', nats, env: { SESSION_KEY } });
});
afterAll(async () => {
  await parley?.stop();
  await policy?.stop();
  await listening?.close();
  await Promise.all([nats?.stop(), entra?.close(), everything?.close()]);
});

const mirror = (): string => `${new URL(resource).origin}/.well-known/oauth-authorization-server/mcp`;

test('the official client gets in, and its next token, though it sends what Entra refuses and has no secret', async () => {
  const oauth = new ScriptedOAuth(entra);
  const open = () => {
    const client = new Client({ name: 'scripted', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    const transport = new StreamableHTTPClientTransport(new URL(resource), { authProvider: oauth });
    return { client, transport, connected: client.connect(transport) };
  };
  const first = open();
  await expect(first.connected).rejects.toBeInstanceOf(UnauthorizedError);
  await first.transport.finishAuth(oauth.callback?.searchParams ?? new URLSearchParams());
  await first.client.close();
  const { client, connected } = open();
  await connected;
  const echo = async (message: string) => (await client.callTool({ name: 'echo', arguments: { message } })).content;
  expect(await echo('in')).toEqual([{ type: 'text', text: 'Echo: in' }]);
  const before = oauth.kept;
  if (before !== undefined) oauth.kept = { ...before, access_token: 'no.good.any' };
  expect(await echo('on')).toEqual([{ type: 'text', text: 'Echo: on' }]);
  await client.close();
  expect(oauth.steps[1]).toContain(`for ${resource}`);
  expect(entra.forms.map((form) => [form.get('grant_type'), form.has('resource'), form.get('client_secret')])).toEqual([
    ['authorization_code', false, CLIENT.secret],
    ['refresh_token', false, CLIENT.secret],
  ]);
  const forbidden = [CLIENT.secret, ...[before, oauth.kept].flatMap((kept) => [kept?.access_token, kept?.refresh_token]), ...entra.forms.flatMap((form) => [form.get('code'), form.get('code_verifier')])];
  for (const one of forbidden.filter((text) => text != null && text !== 'no.good.any')) expect(heard.filter((said) => said.includes(String(one)))).toEqual([]);
  expect(heard.some((said) => said.includes('parley.policy.issuer'))).toBe(true);
});

test('the secret is for tokens of people alone: the client itself, whom anybody may say to be, gets none', async () => {
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: CLIENT.id, scope: 'api://app-1/.default' }).toString();
  const { status, text } = await send(`${mirror()}/token`, { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body });
  expect([status, JSON.parse(text)]).toEqual([401, expect.objectContaining({ error: 'invalid_client' })]);
  expect(entra.forms.at(-1)?.has('client_secret')).toBe(false);
});

test('what Entra answers goes back as it is, and is for pages of any origin', async () => {
  const body = new URLSearchParams({ grant_type: 'authorization_code', client_id: CLIENT.id, code: 'made-up' }).toString();
  const { status, text, headers } = await send(`${mirror()}/token`, { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body });
  expect([status, JSON.parse(text), headers['access-control-allow-origin'], headers['cache-control']]).toEqual([400, expect.objectContaining({ error: 'invalid_grant' }), '*', 'no-store']);
});
