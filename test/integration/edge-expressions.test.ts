/** Functions and expressions of a configuration, from its file to the process that runs them: at ingress, and at a connector. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { LEGACY, callOf, initializeOf, modernOf, note, rpc, send, type Headers } from '../world/wire.ts';

const KEY = 'sk-of-ada-5b0a4c4d0f';

const FUNCTIONS = `
  // Where our clients have their key.
  login(name) { json(request.headers["x-login"])[name] }
  this.isOneOf(first, more...) { this == first || this in more }
`;

let nats: NatsWorld;
let everything: Everything;
let file: ParleyWorld;
let parley: ParleyWorld;
let port: number;

const configOf = (more: object = {}) => ({
  config: { customFunctions: FUNCTIONS, sensitiveHeaders: ['x-login'], ...more },
  mcp: {
    port,
    policies: {
      apiKey: { mode: 'strict', location: { expression: 'login("key")' }, keys: [{ key: KEY, metadata: { team: 'core' } }] },
      authorization: { rules: ['apiKey.team.isOneOf("core", "edge") && request.path.startsWith("/mcp")'] },
      mcpAuthorization: { rules: ['mcp.tool.name.isOneOf("echo", "counter")'] },
    },
    targets: [{ name: 'only', mcp: { host: everything.url } }],
  },
});

beforeAll(async () => {
  [nats, everything, port] = await Promise.all([startNats(), startEverything(), freePort()]);
  file = await startParley({ nats, config: configOf(), services: ['policy'], role: 'policy' });
  parley = await startParley({ nats, services: ['session', 'connector', 'ingress'], role: 'others' });
});
afterAll(async () => {
  await parley.stop();
  await file.stop();
  await Promise.all([nats.stop(), everything.close()]);
});

const url = (): string => `http://127.0.0.1:${port}/mcp`;
const login = (key: unknown): Headers => ({ 'x-login': JSON.stringify({ key }) });

describe('a key that an expression finds by a function of the configuration', () => {
  test('lets its owner in, and nobody else', async () => {
    const statusOf = async (headers: Headers): Promise<number> => (await send(url(), { headers, body: initializeOf() })).status;
    expect(await statusOf(login(KEY))).toBe(200);
    expect(await statusOf({})).toBe(401);
    expect(await statusOf(login('other'))).toBe(401);
    expect(await statusOf({ 'x-login': 'no JSON' })).toBe(401);
    expect(await statusOf({ authorization: `Bearer ${KEY}` })).toBe(401);
  });
});

describe('a rule with a function of the configuration', () => {
  test('cuts lists and calls where a connector judges them, in either era', async () => {
    const modern = await send(url(), modernOf('tools/list', { headers: login(KEY) }));
    const names = (modern.json?.result as { readonly tools: readonly { readonly name: string }[] } | undefined)?.tools.map(({ name }) => name);
    expect(names?.toSorted()).toEqual(['counter', 'echo']);
    const opened = await send(url(), { headers: login(KEY), body: initializeOf() });
    const headers = { ...login(KEY), 'mcp-session-id': String(opened.headers['mcp-session-id']), 'mcp-protocol-version': LEGACY };
    await send(url(), { headers, body: note('notifications/initialized') });
    expect(JSON.stringify((await send(url(), { headers, body: rpc('tools/list') })).json?.result)).not.toContain('"slow"');
    expect((await send(url(), { headers, body: callOf('echo', { message: 'hi' }) })).text).toContain('Echo: hi');
    expect((await send(url(), { headers, body: callOf('slow', { ms: 1 }) })).json?.error?.code).toBe(-32602);
  });
});

test('a change of a function is a change of the rules that call it', async () => {
  const before = parley.host.generations.current?.id;
  await file.write(configOf({ customFunctions: FUNCTIONS.replace('this == first || this in more', 'this in more') }));
  await parley.generation(({ id }) => id !== before);
  const listed = async (): Promise<string> => JSON.stringify((await send(url(), modernOf('tools/list', { headers: login(KEY) }))).json ?? '');
  // "core" and "echo" are the first that are named, which count no more.
  expect((await send(url(), modernOf('tools/list', { headers: login(KEY) }))).status).toBe(403);
  await file.write(configOf());
  await parley.generation(({ id }) => id === before);
  await expect.poll(listed, { timeout: 10_000 }).toContain('"echo"');
});
