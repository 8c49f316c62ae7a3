/** Rules of MCP (mcpAuthorization) through the whole of Parley: what is denied is neither listed nor callable, in both eras, at one server or several. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AuditCloudEvent } from '#protocol/audit/event.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { hearAudit } from '../world/audit.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type Told, initializeOf, metric, modernOf, openLegacy, openSse, openStream, rpc, send, sendModern, textOf } from '../world/wire.ts';

const RULES = [
  'request.headers["x-role"] == "admin"',
  'mcp.tool.name == "echo" && mcp.tool.arguments.message != "forbidden"',
  'mcp.tool.name == "counter" && mcp.tool.target != "two"',
  'mcp.prompt.name == "test_simple_prompt" || mcp.resource.name == "test://static-text"',
  { deny: 'mcp.tool.name == "cancelled_calls"' },
];
const ADMIN = { 'x-role': 'admin' };

let one: Everything;
let two: Everything;
let parley: ParleyWorld;
let port: number;
let stopHearing: () => void;
const audited: AuditCloudEvent[] = [];
const clients: Client[] = [];
const url = (path: string): string => new URL(path, parley.url).href;

const target = (name: string, { url: host }: Everything): object => ({ name, mcp: { host } });

function config(rules: readonly unknown[]): Readonly<Record<string, unknown>> {
  const route = (name: string, targets: object[], mcp: object = {}): object => ({
    name, matches: [{ path: { exact: `/${name}` } }], policies: { mcpAuthorization: { rules } }, backends: [{ mcp: { targets, ...mcp } }],
  });
  const [a, b] = [target('one', one), target('two', two)];
  const routes = [
    route('single', [a]),
    route('many', [a, b]),
    route('once', [a], { statefulMode: 'stateless' }),
    { name: 'free', matches: [{ path: { exact: '/free' } }], backends: [{ mcp: { targets: [a] } }] },
    { name: 'sse', matches: [{ path: { exact: '/sse' } }], policies: { mcpAuthorization: { rules } }, backends: [{ mcp: { targets: [a] } }] },
    { name: 'shut', matches: [{ path: { exact: '/shut' } }], backends: [{ mcp: { targets: [a] }, policies: { authorization: { rules: ['request.headers["x-role"] == "admin"'] } } }] },
  ];
  return { binds: [{ port, listeners: [{ routes }] }] };
}

beforeAll(async () => {
  [one, two, port] = await Promise.all([startEverything(), startEverything(), freePort()]);
  parley = await startParley({ config: config(RULES), env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  stopHearing = await hearAudit(parley.host.nats.connection, (event) => audited.push(event));
});
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));
afterAll(async () => {
  stopHearing?.();
  await parley?.stop();
  await Promise.all([one, two].map((server) => server?.close()));
});

async function connect(path: string, mode: 'legacy' | 'auto', headers: Record<string, string> = {}): Promise<Client> {
  const client = new Client({ name: 'ruled', version: '1' }, { capabilities: {}, versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url(path)), { requestInit: { headers } }));
  clients.push(client);
  return client;
}

const shownIn = (answer: Told['json']): string[] | undefined => (answer?.result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);
const toolsOf = async (client: Client): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name);
const textFrom = async (client: Client, name: string, args: Record<string, unknown> = {}): Promise<string> => {
  const { content: [first] } = await client.callTool({ name, arguments: args });
  return first?.type === 'text' ? first.text : '';
};

describe.each(['legacy', 'auto'] as const)('for a client in mode %s', (mode) => {
  describe.each([
    ['/single', (name: string) => name, (uri: string) => uri],
    ['/many', (name: string) => `one_${name}`, (uri: string) => `one+${uri}`],
  ])('at %s', (path, named, located) => {
    test('a list shows what may be used, and no more', async () => {
      const client = await connect(path, mode);
      const shown = path === '/many' ? ['one_echo', 'one_counter', 'two_echo'] : ['echo', 'counter'];
      expect((await toolsOf(client)).toSorted()).toEqual(shown.toSorted());
      expect((await client.listPrompts()).prompts.map(({ name }) => name)).toContain(named('test_simple_prompt'));
      expect((await client.listPrompts()).prompts).toHaveLength(path === '/many' ? 2 : 1);
      expect((await client.listResources()).resources.map(({ uri }) => uri).filter((uri) => uri.includes('static-text'))).toHaveLength(path === '/many' ? 2 : 1);
      expect((await client.listResources()).resources.every(({ uri }) => uri.endsWith('test://static-text'))).toBe(true);
      expect((await client.listResourceTemplates()).resourceTemplates).toEqual([]);
    });

    test('what is not shown cannot be used, as if it were not there', async () => {
      const client = await connect(path, mode);
      await expect(client.callTool({ name: named('cancelled_calls'), arguments: {} })).rejects.toThrow(`Unknown tool: ${named('cancelled_calls')}`);
      await expect(client.getPrompt({ name: named('test_prompt_with_arguments'), arguments: { arg1: 'a', arg2: 'b' } })).rejects.toThrow(`Unknown prompt: ${named('test_prompt_with_arguments')}`);
      await expect(client.readResource({ uri: located('test://template/9/data') })).rejects.toThrow(located('test://template/9/data'));
      await expect(client.complete({ ref: { type: 'ref/prompt', name: named('test_prompt_with_arguments') }, argument: { name: 'arg1', value: 'par' } })).rejects.toThrow('Unknown prompt or resource');
      expect((await client.getPrompt({ name: named('test_simple_prompt') })).messages).toHaveLength(1);
      expect((await client.readResource({ uri: located('test://static-text') })).contents).toHaveLength(1);
    });

    test('arguments decide', async () => {
      const client = await connect(path, mode);
      expect(await textFrom(client, named('echo'), { message: 'hello' })).toBe('Echo: hello');
      await expect(client.callTool({ name: named('echo'), arguments: { message: 'forbidden' } })).rejects.toThrow(`Unknown tool: ${named('echo')}`);
    });

    test('who calls decides, but for what is denied to all', async () => {
      const client = await connect(path, mode, ADMIN);
      const tools = await toolsOf(client);
      expect(tools.length).toBeGreaterThan(5);
      expect(tools).not.toContain(named('cancelled_calls'));
      expect(await textFrom(client, named('echo'), { message: 'forbidden' })).toBe('Echo: forbidden');
      expect((await client.listResourceTemplates()).resourceTemplates.length).toBeGreaterThan(0);
      await expect(client.callTool({ name: named('cancelled_calls'), arguments: {} })).rejects.toThrow('Unknown tool');
    });
  });

  test('the target decides', async () => {
    const client = await connect('/many', mode);
    expect(await textFrom(client, 'one_counter', { key: `target-${mode}` })).toBe('1');
    await expect(client.callTool({ name: 'two_counter', arguments: { key: `target-${mode}` } })).rejects.toThrow('Unknown tool: two_counter');
  });

  test('a route without rules shows and does everything', async () => {
    const client = await connect('/free', mode);
    expect(await toolsOf(client)).toContain('cancelled_calls');
    expect(await textFrom(client, 'echo', { message: 'forbidden' })).toBe('Echo: forbidden');
  });
});

test('a client that keeps no session is judged as well', async () => {
  const list = await send(url('/once'), { body: rpc('tools/list', {}) });
  expect(shownIn(list.json)?.toSorted()).toEqual(['counter', 'echo']);
  const denied = await send(url('/once'), { body: rpc('tools/call', { name: 'cancelled_calls', arguments: {} }) });
  expect(denied.json?.error).toEqual({ code: -32602, message: 'Unknown tool: cancelled_calls' });
});

test('so is one of the first transport', async () => {
  const session = await openSse(url('/sse'));
  await session.post(rpc('tools/call', { name: 'cancelled_calls', arguments: {} }, 'denied'));
  expect((await session.stream.answerTo('denied')).error).toEqual({ code: -32602, message: 'Unknown tool: cancelled_calls' });
  await session.stream.cut();
});

test('a subscription is refused for what may not be read, in either era', async () => {
  const session = await openLegacy(url('/single'));
  expect((await session.send(rpc('resources/subscribe', { uri: 'test://static-text' }))).json?.error).toBeUndefined();
  expect((await session.send(rpc('resources/subscribe', { uri: 'test://watched-resource' }))).json?.error?.message).toBe('Resource not found: test://watched-resource');
  expect((await session.send(rpc('resources/unsubscribe', { uri: 'test://watched-resource' }))).json?.error?.message).toBe('Resource not found: test://watched-resource');
  for (const [path, prefix] of [['/single', ''], ['/many', 'one+']]) {
    const notifications = { resourceSubscriptions: [`${prefix}test://watched-resource`, `${prefix}test://static-text`] };
    const stream = await openStream(url(path ?? ''), { method: 'POST', ...modernOf('subscriptions/listen', { params: { notifications }, id: 'l' }) });
    const { data } = await stream.event(({ data: text }) => text.includes('acknowledged'));
    expect((JSON.parse(data) as { params: { notifications: unknown } }).params.notifications).toEqual({ resourceSubscriptions: [`${prefix}test://static-text`] });
    await stream.cut();
  }
});

test('what is denied is audited with the rule, and counted; what a list leaves out is counted', async () => {
  const stats = parley.host.statsUrl;
  const labels = { method: 'tools/call', reason: 'mcpAuthorization/deny' };
  const [before, hidden] = await Promise.all([metric(stats, 'parley_calls_denied_total', labels), metric(stats, 'parley_list_items_hidden_total', { method: 'tools/list' })]);
  audited.splice(0);
  await sendModern(url('/many'), 'tools/call', { name: 'two_cancelled_calls', params: { arguments: {} } });
  await sendModern(url('/many'), 'tools/list');
  // Events of the tests before may still be on their way.
  await expect.poll(() => audited.filter(({ data }) => data.kind === 'call_denied' && data.tool === 'two_cancelled_calls').map(({ data }) => data)).toEqual([
    expect.objectContaining({ route: 'many', target: 'two', method: 'tools/call', tool: 'two_cancelled_calls', principal: 'anonymous', reason: 'mcpAuthorization/deny', rule: 'route.rules[4]' }),
  ]);
  expect(await metric(stats, 'parley_calls_denied_total', labels)).toBe(before + 1);
  expect(await metric(stats, 'parley_list_items_hidden_total', { method: 'tools/list' })).toBeGreaterThan(hidden);
});

test('what rules ask for may be as long as headers may be', async () => {
  const long = (chars: number) => send(url('/single'), { body: initializeOf(), headers: { 'x-role': 'a'.repeat(chars) } });
  expect((await long(8_000)).status).toBe(200);
  const session = await openLegacy(url('/single'));
  expect((await session.send(rpc('tools/list', {}), { 'x-role': 'b'.repeat(8_000) })).status).toBe(200);
});

describe('policies of a backend', () => {
  test('deny a request before anything of MCP is looked at', async () => {
    const denied = await send(url('/shut'), { body: initializeOf() });
    expect([denied.status, denied.text]).toEqual([403, 'authorization failed']);
    const opened = await send(url('/shut'), { body: initializeOf(), headers: ADMIN });
    expect(opened.status).toBe(200);
    const session = { 'mcp-session-id': String(opened.headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
    expect((await send(url('/shut'), { body: rpc('tools/list', {}), headers: session })).status).toBe(403);
    expect((await send(url('/shut'), { body: rpc('tools/list', {}), headers: { ...session, ...ADMIN } })).status).toBe(200);
  });
});

describe('new rules', () => {
  const change = async (rules: readonly unknown[]): Promise<void> => {
    const before = parley.host.generations.current?.id;
    await parley.write(config(rules));
    await parley.generation(({ id }) => id !== before);
  };
  afterEach(() => change(RULES));

  test('are in force for a session that is open, whose client hears that its lists changed', async () => {
    const session = await openLegacy(url('/many'));
    const stream = await openStream(url('/many'), { headers: session.headers });
    expect(await session.call('one_echo', { message: 'a' })).toBe('Echo: a');
    const heard = stream.event(({ data }) => data.includes('notifications/tools/list_changed'));
    await change([...RULES, { deny: 'mcp.tool.name == "echo"' }]);
    await heard;
    const denied = await session.send(rpc('tools/call', { name: 'one_echo', arguments: { message: 'a' } }, 'again'));
    expect(denied.json?.error?.message).toBe('Unknown tool: one_echo');
    const list = await session.send(rpc('tools/list', {}, 'list'));
    expect(shownIn(list.json)).toEqual(['one_counter']);
    await stream.cut();
  });

  test.each(['/single', '/many'])('are told to a client that listens at %s', async (path) => {
    const stream = await openStream(url(path), { method: 'POST', ...modernOf('subscriptions/listen', { params: { notifications: { toolsListChanged: true } }, id: 'news' }) });
    await stream.event(({ data }) => data.includes('acknowledged'));
    const heard = stream.event(({ data }) => data.includes('notifications/tools/list_changed'));
    await change(['false']);
    expect(JSON.parse((await heard).data)).toEqual({
      jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta: { 'io.modelcontextprotocol/subscriptionId': 'news' } },
    });
    expect((await sendModern(url(path), 'tools/list')).json?.result?.['tools']).toEqual([]);
    await stream.cut();
  });

  test('may ask for other facts than those before', async () => {
    await change(['request.headers["x-tenant"] == "blue"']);
    const told = await sendModern(url('/single'), 'tools/call', { name: 'echo', params: { arguments: { message: 'x' } }, headers: { 'x-tenant': 'blue' } });
    expect(textOf(told.json)).toBe('Echo: x');
    expect((await sendModern(url('/single'), 'tools/list')).json?.result?.['tools']).toEqual([]);
  });
});

describe('between processes', () => {
  let front: ParleyWorld;
  let backs: ParleyWorld[];
  let nats: NatsWorld;
  const backend = (): Readonly<Record<string, unknown>> => ({
    mcp: { policies: { mcpAuthorization: { rules: ['request.headers["x-role"] == "ädmin, \\"so\\" to say"'] } }, targets: [target('one', one)] },
  });
  const WHO = { 'x-role': Buffer.from('ädmin, "so" to say', 'latin1').toString('latin1') };

  beforeAll(async () => {
    nats = await startNats();
    front = await startParley({ nats, config: backend(), services: ['policy', 'session', 'ingress'], role: 'front' });
    backs = [await startParley({ nats, services: ['connector'], role: 'connector' })];
  });
  afterAll(async () => {
    for (const world of [...(backs ?? []), front]) await world?.stop();
    await nats?.stop();
  });

  test('what rules ask for reaches the connector, whatever is in it', async () => {
    expect(shownIn((await sendModern(front.url, 'tools/list', { headers: WHO })).json)).toContain('echo');
    expect(shownIn((await sendModern(front.url, 'tools/list')).json)).toEqual([]);
  });

  test('a connector that takes a session over judges it by what its next call brings', async () => {
    const session = await openLegacy(front.url);
    const list = async (headers: Record<string, string> = {}) => shownIn((await session.send(rpc('tools/list', {}, crypto.randomUUID()), headers)).json);
    expect([await list(), (await list(WHO))?.includes('echo')]).toEqual([[], true]);
    backs.push(await startParley({ nats, services: ['connector'], role: 'connector' }));
    await backs.shift()?.stop();
    expect([await list(), (await list(WHO))?.includes('echo')]).toEqual([[], true]);
  });
});
