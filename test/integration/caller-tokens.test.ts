/** Which tokens of a caller reach a server that is asked as its caller, and which do not. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startMisbehaving } from '../fixtures/misbehaving/http.ts';
import { type FilesGateway, startFilesGateway } from '../world/files-gateway.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { startParley } from '../world/parley.ts';
import { ISSUER, type IssuerKey, keySet, makeKey } from '../world/tokens.ts';
import { initializeOf, send, sendModern, textOf } from '../world/wire.ts';

let nats: NatsWorld;
let key: IssuerKey;

beforeAll(async () => {
  [nats, key] = await Promise.all([startNats(), makeKey()]);
});
afterAll(() => nats?.stop());

const world = (policies: object): Promise<FilesGateway> => startFilesGateway({ nats, policies, backendAuth: { passthrough: {} } });

const claims = (more: object = {}): Record<string, unknown> => ({ iss: ISSUER, sub: 'ada', aud: 'gw', exp: Math.floor(Date.now() / 1000) + 600, ...more });
const WORDS = 'files is asked with a token of the caller, and none came with the call';

test.each<[string, () => object]>([
  ['jwtAuth', () => ({ mode: 'permissive', issuer: ISSUER, audiences: ['gw'], jwks: keySet(key) })],
  ['mcpAuthentication', () => ({ mode: 'permissive', issuer: ISSUER, audiences: ['gw'], jwks: keySet(key), resourceMetadata: {} })],
])('%s that lets every call go on lets no token go on that is no good', async (id, policy) => {
  const { url, server } = await world({ [id]: policy() });
  const [good, stale, forged] = await Promise.all([key.sign(claims()), key.sign(claims({ exp: 1 })), (await makeKey()).sign(claims())]);
  for (const token of [stale, forged]) {
    const headers = { authorization: `Bearer ${token}` };
    expect((await sendModern(url, 'tools/call', { name: 'echo', headers })).json?.error?.message).toBe(WORDS);
    expect((await send(url, { headers, body: initializeOf() })).json?.error?.message).toBe(WORDS);
  }
  expect(server.seen).toEqual([]);
  const headers = { authorization: `Bearer ${good}` };
  expect(textOf((await sendModern(url, 'tools/call', { name: 'echo', headers, params: { arguments: { message: 'm' } } })).json)).toBe('m');
  expect(server.seen.every((seen) => seen.headers.authorization === headers.authorization)).toBe(true);
});

test('what several servers show of themselves to one caller is shown to no other', async () => {
  const server = await startMisbehaving({ era: 'modern' });
  onTestFinished(() => server.close());
  const targets = ['a', 'b'].map((name) => ({ name, mcp: { host: server.url }, policies: { backendAuth: { passthrough: {} } } }));
  const parley = await startParley({ nats, config: { mcp: { targets } } });
  onTestFinished(() => parley.stop());
  const tokens = ['Bearer one', 'Bearer two'];
  for (const authorization of tokens) expect((await sendModern(parley.url, 'server/discover', { headers: { authorization } })).json?.result).toBeDefined();
  expect(server.seen.map(({ rpc, headers }) => [rpc?.method, headers.authorization])).toEqual(tokens.flatMap((token) => [['server/discover', token], ['server/discover', token]]));
});

test.each<[string, object, (token: string) => Record<string, string>]>([
  ['a header of its own', { header: { name: 'x-token', prefix: '' } }, (token) => ({ 'x-token': token })],
  ['an expression', { expression: 'json(request.headers["x-login"]).token' }, (token) => ({ 'x-login': JSON.stringify({ token }) })],
])('the token that was verified is passed on from where it stood (%s), and no other', async (_where, location, carrying) => {
  const { url, server } = await world({ jwtAuth: { mode: 'optional', issuer: ISSUER, audiences: ['gw'], jwks: keySet(key), location } });
  const token = await key.sign(claims());
  const other = { authorization: 'Bearer nobody-verified-this' };
  const call = (headers: Record<string, string>) => sendModern(url, 'tools/call', { name: 'echo', headers, params: { arguments: { message: 'm' } } });
  expect((await call(other)).json?.error?.message).toBe(WORDS);
  expect(server.seen).toEqual([]);
  expect(textOf((await call({ ...other, ...carrying(token) })).json)).toBe('m');
  expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(server.seen.map(() => `Bearer ${token}`));
  expect(server.seen.length).toBeGreaterThan(0);
  expect(server.seen.flatMap(({ headers }) => Object.keys(headers)).filter((name) => name.startsWith('x-'))).toEqual([]);
});
