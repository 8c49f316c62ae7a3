/** What a token lacks, seen from outside: on every face of MCP the client is told what to ask for, before anything is asked of a session or a server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditCloudEvent } from '#protocol/audit/event.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { hearAudit } from '../world/audit.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { ISSUER, keySet, makeKey } from '../world/tokens.ts';
import { LEGACY, type Sent, callOf, initializeOf, metric, modernOf, note, rpc, send } from '../world/wire.ts';

let everything: Everything;
let parley: ParleyWorld;
let tokenOf: (scope: string) => Promise<string>;
let stopHearing: () => void;
const audited: AuditCloudEvent[] = [];
const at = (path: string): string => new URL(path, parley.url).href;
const SESSION = 'x'.repeat(32);

beforeAll(async () => {
  const [key, port] = await Promise.all([makeKey(), freePort()]);
  everything = await startEverything();
  const resource = `http://127.0.0.1:${port}/mcp`;
  const requiredScopes = { endpoint: ['mcp'], tools: { counter: ['mcp.write'] }, resources: { 'test://static-*': ['mcp.read'] } };
  const policies = { mcpAuthentication: { issuer: ISSUER, audiences: [resource], jwks: keySet(key), resourceMetadata: {}, requiredScopes } };
  const route = (name: string, mcp: object = {}) => ({
    name, matches: [{ path: { exact: `/${name}` } }], policies, backends: [{ mcp: { targets: [{ name: 'everything', mcp: { host: everything.url } }], ...mcp } }],
  });
  parley = await startParley({
    config: { binds: [{ port, listeners: [{ routes: [route('mcp'), route('sse'), route('once', { statefulMode: 'stateless' })] }] }] },
    env: { PARLEY_STATS_ADDR: '127.0.0.1:0' },
  });
  tokenOf = (scope) => key.sign({ iss: ISSUER, sub: 'ada', aud: resource, exp: Math.floor(Date.now() / 1000) + 600, scope });
  stopHearing = await hearAudit(parley.host.nats.connection, (event) => audited.push(event));
});
afterAll(async () => {
  stopHearing?.();
  await parley?.stop();
  await everything?.close();
});

const authorized = async (scope: string, { headers = {}, body }: Sent): Promise<Sent> => ({ headers: { ...headers, authorization: `Bearer ${await tokenOf(scope)}` }, body });
const counter = callOf('counter', { key: 'scopes' });

describe.each([
  ['a session', '/mcp', { headers: { 'mcp-session-id': SESSION, 'mcp-protocol-version': LEGACY }, body: counter }],
  ['a call without a session', '/once', { headers: { 'mcp-protocol-version': LEGACY }, body: counter }],
  ['a modern call', '/mcp', modernOf('tools/call', { name: 'counter', params: { name: 'counter', arguments: { key: 'scopes' } } })],
  ['the transport of 2024-11-05', `/sse?sessionId=${SESSION}`, { body: counter }],
] satisfies [string, string, Sent][])('in %s', (_, path, sent) => {
  test('a token that lacks the scope of a tool is told of all that its call needs', async () => {
    const told = await send(at(path), await authorized('mcp', sent));
    const document = at(`/.well-known/oauth-protected-resource${path.split('?')[0]}`);
    expect([told.status, told.headers['www-authenticate']]).toEqual([403, `Bearer error="insufficient_scope", resource_metadata="${document}", scope="mcp mcp.write"`]);
    expect(JSON.parse(told.text)).toMatchObject({ error: 'insufficient_scope' });
  });

  test('a token without the scope of the endpoint gets nowhere', async () => {
    expect((await send(at(path), await authorized('openid', sent))).status).toBe(403);
  });

  test('one that has both is let through', async () => {
    expect([401, 403]).not.toContain((await send(at(path), await authorized('mcp mcp.write', sent))).status);
  });
});

test('a tool that needs no more, and what is no call, are let through', async () => {
  for (const [method, call] of [['tools/list', {}], ['tools/call', { name: 'echo', params: { name: 'echo', arguments: { message: 'hi' } } }]] as const) {
    const told = await send(at('/mcp'), await authorized('mcp', modernOf(method, call)));
    expect([told.status, told.json?.error]).toEqual([200, undefined]);
  }
});

test('a second key of the same name is nobody\'s loophole: what was judged is what the server reads', async () => {
  const headers = { 'mcp-protocol-version': LEGACY };
  const twice = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"counter","arguments":{"key":"loophole"},"name":"echo"}}';
  expect((await send(at('/once'), await authorized('mcp', { headers, body: twice }))).status).toBe(200);
  const cased = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"counter","arguments":{"message":"a"}}}';
  expect((await send(at('/once'), await authorized('mcp', { headers, body: cased }))).status).toBe(403);
  const first = await send(at('/once'), await authorized('mcp mcp.write', { headers, body: callOf('counter', { key: 'loophole' }) }));
  expect(first.text).toContain('"1"');
});

test('a session goes on with the larger token of the same subject', async () => {
  const opened = await send(at('/mcp'), await authorized('mcp', { body: initializeOf() }));
  const headers = { 'mcp-session-id': String(opened.headers['mcp-session-id']), 'mcp-protocol-version': LEGACY };
  await send(at('/mcp'), await authorized('mcp', { headers, body: note('notifications/initialized') }));
  const read = rpc('resources/read', { uri: 'test://static-text' });
  expect((await send(at('/mcp'), await authorized('mcp', { headers, body: read }))).headers['www-authenticate']).toContain('scope="mcp mcp.read"');
  expect((await send(at('/mcp'), await authorized('mcp mcp.read', { headers, body: read }))).json?.result).toBeDefined();
});

test('refusals are counted and audited, with the tool and who called', async () => {
  const before = await metric(parley.host.statsUrl, 'parley_requests_denied_total', { reason: 'mcpAuthentication/scope' });
  const seen = audited.length;
  await send(at('/mcp'), await authorized('mcp', modernOf('tools/call', { name: 'counter', params: { name: 'counter', arguments: { key: 'a' } } })));
  expect(await metric(parley.host.statsUrl, 'parley_requests_denied_total', { reason: 'mcpAuthentication/scope' })).toBe(before + 1);
  await expect.poll(() => audited.slice(seen).map(({ data }) => data)).toContainEqual(expect.objectContaining({ principal: `jwt:${ISSUER}#ada`, tool: 'counter', reason: 'mcpAuthentication/scope' }));
});
