/** Several servers behind one URL: one set of names, one client, each message to and from the right one. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { MOODS } from '../fixtures/misbehaving/moods.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { initializeOf, openLegacy, openStream, rpc, send, sendModern, textOf } from '../world/wire.ts';

const TIMEOUT_MS = 500;
const LIST_MS_MAX = 5_000;

let one: Everything;
let two: Everything;
let paged: MisbehavingHttp;
let other: MisbehavingHttp;
let mute: MisbehavingHttp;
let parley: ParleyWorld;
const clients: Client[] = [];
const url = (path: string): string => new URL(path, parley.url).href;

const target = (name: string, host: string, timeout?: string): object => ({ name, mcp: { host }, ...(timeout === undefined ? {} : { policies: { http: { requestTimeout: timeout } } }) });
const route = (path: string, targets: object[], mcp: object = {}): object => ({ name: path.slice(1), matches: [{ path: { exact: path } }], backends: [{ mcp: { targets, ...mcp } }] });

beforeAll(async () => {
  [one, two, paged, other, mute] = await Promise.all([startEverything(), startEverything(), startMisbehaving({ pageSize: 4 }), startMisbehaving(), startMisbehaving({ mute: true })]);
  const a = target('one', one.url);
  const b = target('two', two.url);
  const silent = target('mute', mute.url, `${TIMEOUT_MS}ms`);
  const nobody = target('nobody', `http://127.0.0.1:${await freePort()}/mcp`);
  const routes = [
    route('/two', [a, b]),
    route('/three', [a, target('paged', paged.url), target('other', other.url)]),
    route('/always', [a], { prefixMode: 'always' }),
    route('/single', [a]),
    route('/never', [a, target('paged', paged.url)], { prefixMode: 'never' }),
    route('/closed', [a, silent]),
    route('/open', [a, silent], { failureMode: 'failOpen' }),
    route('/gone', [a, nobody]),
    route('/gone-open', [a, nobody], { failureMode: 'failOpen' }),
  ];
  parley = await startParley({ config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] } });
});
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));
afterAll(async () => {
  await parley?.stop();
  await Promise.all([one, two, paged, other, mute].map((server) => server.close()));
});

type Mode = 'legacy' | 'auto';

async function connect(path: string, mode: Mode, capabilities: object = { sampling: {}, elicitation: {}, roots: {} }): Promise<Client> {
  const client = new Client({ name: 'multiplex', version: '1' }, { capabilities, versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url(path))));
  clients.push(client);
  return client;
}

async function call(client: Client, name: string, args: Record<string, unknown> = {}): Promise<string> {
  const { content } = await client.callTool({ name, arguments: args });
  const [first] = content;
  if (first?.type !== 'text') throw new Error(`${name} answered without text`);
  return first.text;
}

const names = async (client: Client): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name);

describe.each(['legacy', 'auto'] as const)('for a client in mode %s', (mode) => {
  test('tools and prompts carry the name of their server, and lead back to it', async () => {
    const client = await connect('/two', mode);
    const tools = await names(client);
    expect(tools).toEqual(expect.arrayContaining(['one_echo', 'two_echo']));
    expect(tools.every((name) => /^(one|two)_/.test(name))).toBe(true);
    const key = `key-${mode}`;
    expect(await call(client, 'one_counter', { key })).toBe('1');
    expect(await call(client, 'one_counter', { key })).toBe('2');
    expect(await call(client, 'two_counter', { key })).toBe('1');
    expect((await client.listPrompts()).prompts.map(({ name }) => name)).toEqual(expect.arrayContaining(['one_test_simple_prompt', 'two_test_simple_prompt']));
    expect((await client.getPrompt({ name: 'two_test_simple_prompt' })).messages).toHaveLength(1);
  });

  test.each(['echo', 'three_echo', 'one_no_such_tool', '_echo'])('a tool %s that nobody serves is refused by its name', async (name) => {
    const client = await connect('/two', mode);
    await expect(client.callTool({ name, arguments: {} })).rejects.toThrow(name.startsWith('one_') ? /no_such_tool/ : name);
  });

  test('resources and templates carry the name of their server, lead back to it, and so do the URIs in results', async () => {
    const client = await connect('/two', mode);
    const uris = (await client.listResources()).resources.map(({ uri }) => uri);
    expect(uris).toEqual(expect.arrayContaining(['one+test://static-text', 'two+test://static-text']));
    const templates = (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate);
    expect(templates).toEqual(['one+test://template/{id}/data', 'two+test://template/{id}/data']);
    expect((await client.readResource({ uri: 'two+test://template/9/data' })).contents[0]).toMatchObject({ uri: 'two+test://template/9/data' });
    const { content } = await client.callTool({ name: 'two_test_embedded_resource', arguments: {} });
    expect(content[0]).toMatchObject({ type: 'resource', resource: { uri: 'two+test://embedded-resource' } });
    const prompt = await client.getPrompt({ name: 'one_test_prompt_with_embedded_resource', arguments: { resourceUri: 'test://any' } });
    expect(prompt.messages[0]?.content).toMatchObject({ resource: { uri: 'one+test://any' } });
    await expect(client.readResource({ uri: 'test://static-text' })).rejects.toThrow(/test:\/\/static-text/);
  });

  test('completions reach the server of their prompt or template', async () => {
    const client = await connect('/two', mode);
    const prompt = await client.complete({ ref: { type: 'ref/prompt', name: 'two_test_prompt_with_arguments' }, argument: { name: 'arg1', value: 'par' } });
    expect(prompt.completion.values).toEqual(['paris', 'park', 'party']);
    const template = await client.complete({ ref: { type: 'ref/resource', uri: 'one+test://template/{id}/data' }, argument: { name: 'id', value: '12' } });
    expect(template.completion.values).toEqual(['123', '124']);
  });

  test('the capabilities are those of all servers together', async () => {
    const client = await connect('/three', mode);
    expect(client.getServerCapabilities()).toMatchObject({ tools: { listChanged: true }, prompts: {}, resources: { subscribe: true }, completions: {}, logging: {} });
  });

  test('a server alone is prefixed only where the configuration says always', async () => {
    expect(await names(await connect('/single', mode))).toContain('echo');
    const always = await connect('/always', mode);
    expect((await names(always)).every((name) => name.startsWith('one_'))).toBe(true);
    expect(await call(always, 'one_echo', { message: 'x' })).toBe('Echo: x');
  });

  test('without prefixes each tool is found where it is, and one that two servers have belongs to neither', async () => {
    const client = await connect('/never', mode);
    expect(await call(client, 'counter', { key: `never-${mode}` })).toBe('1');
    const { completion } = await client.complete({ ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' }, argument: { name: 'arg1', value: 'par' } });
    expect(completion.values).toContain('paris');
    expect(await call(client, 'stderr')).toBe('stderr');
    const tools = await names(client);
    expect(tools).toEqual(expect.arrayContaining(['counter']));
    expect(tools).not.toContain('echo');
    await expect(client.callTool({ name: 'echo', arguments: {} })).rejects.toThrow('Unknown tool: echo');
  });

  test('one server that goes silent delays a list no longer than its own time: with failOpen the list is there without it', async () => {
    const client = await connect('/open', mode);
    const began = performance.now();
    expect(await names(client)).toContain('one_echo');
    expect(performance.now() - began).toBeLessThan(LIST_MS_MAX);
    expect(await call(client, 'mute_echo', { message: 'can still be called' })).toBe('can still be called');
  });

  test('one server that goes silent fails the list with failClosed, soon and by its name', async () => {
    const client = await connect('/closed', mode);
    const began = performance.now();
    await expect(client.listTools()).rejects.toThrow(/mute did not answer tools\/list in time/);
    expect(performance.now() - began).toBeLessThan(LIST_MS_MAX);
    expect(await call(client, 'one_echo', { message: 'others work' })).toBe('Echo: others work');
  });

  test('progress and cancellation reach the one right server', async () => {
    const client = await connect('/two', mode);
    const before = [await call(client, 'one_cancelled_calls'), await call(client, 'two_cancelled_calls')].map(Number) as [number, number];
    const cancel = new AbortController();
    const arrived = Promise.withResolvers<void>();
    const kept = client.callTool({ name: 'one_slow', arguments: { ms: 400 } });
    const slow = client.callTool({ name: 'two_slow', arguments: { ms: 60_000 } }, { signal: cancel.signal, onprogress: () => arrived.resolve() });
    await arrived.promise;
    cancel.abort();
    await expect(slow).rejects.toThrow();
    await expect.poll(() => call(client, 'two_cancelled_calls')).toBe(String(before[1] + 1));
    expect((await kept).content).toMatchObject([{ text: 'Waited 400 ms' }]);
    expect(await call(client, 'one_cancelled_calls')).toBe(String(before[0]));
  });

  test('both servers ask the client at the same time, and each gets its own answer', async () => {
    const client = await connect('/two', mode);
    const gate = Promise.withResolvers<void>();
    let asked = 0;
    client.setRequestHandler('sampling/createMessage', async ({ params }) => {
      if (++asked === 2) gate.resolve();
      await gate.promise;
      const [message] = params.messages;
      const said = message?.content as { text: string };
      return { model: 'm', role: 'assistant' as const, content: { type: 'text' as const, text: `answer to ${said.text}` } };
    });
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { username: 'u', email: 'e@example.com' } }));
    const [first, second, third] = await Promise.all([
      call(client, 'one_test_sampling', { prompt: 'first' }),
      call(client, 'two_test_sampling', { prompt: 'second' }),
      call(client, 'two_test_elicitation', { message: 'who' }),
    ]);
    expect([first, second]).toEqual(['LLM response: answer to first', 'LLM response: answer to second']);
    expect(third).toContain('"username":"u"');
  });

  test('a server is refused what the client does not offer', async () => {
    const client = await connect('/two', mode, {});
    const outcome = await client.callTool({ name: 'one_test_sampling', arguments: { prompt: 'p' } }).then(
      (result) => (result.isError === true ? 'refused' : 'answered'),
      () => 'refused',
    );
    expect(outcome).toBe('refused');
  });
});

describe('pages of several servers', () => {
  test.each(['legacy', 'modern'] as const)('are read with cursors of ours until each server has no more (%s)', async (era) => {
    const session = era === 'legacy' ? await openLegacy(url('/three')) : undefined;
    const page = async (cursor: string | undefined) => {
      const params = cursor === undefined ? {} : { cursor };
      return (session ? await session.send(rpc('tools/list', params)) : await sendModern(url('/three'), 'tools/list', { params })).json;
    };
    const seen: string[] = [];
    let pages = 0;
    let cursor: string | undefined;
    do {
      const result = (await page(cursor))?.result as { tools: { name: string }[]; nextCursor?: string };
      seen.push(...result.tools.map(({ name }) => name));
      cursor = result.nextCursor;
      pages += 1;
    } while (cursor !== undefined && pages < 50);
    expect(pages).toBe(Math.ceil(MOODS.length / 4));
    expect(seen.filter((name) => name.startsWith('paged_')).map((name) => name.slice('paged_'.length))).toEqual([...MOODS]);
    expect(seen.filter((name) => name.startsWith('other_'))).toHaveLength(MOODS.length);
    expect(new Set(seen).size).toBe(seen.length);
    expect((await page('made-up'))?.error).toMatchObject({ code: -32_602, message: 'the cursor is not one of ours' });
  });
});

describe('a server that is not there', () => {
  test('fails initialize with failClosed, by its name', async () => {
    const { json } = await send(url('/gone'), { body: initializeOf() });
    expect(json?.error?.message).toMatch(/^nobody at \S+ cannot be used: ECONNREFUSED$/);
  });

  test('is left out with failOpen, in both eras', async () => {
    for (const mode of ['legacy', 'auto'] as const) {
      const client = await connect('/gone-open', mode);
      const tools = await names(client);
      expect(tools).toContain('one_echo');
      expect(tools.some((name) => name.startsWith('nobody'))).toBe(false);
      await expect(client.callTool({ name: 'nobody_echo', arguments: {} })).rejects.toThrow('nobody_echo');
    }
  });
});

describe('what several legacy servers say by themselves', () => {
  const posted = (server: MisbehavingHttp, method: string) => server.seen.filter(({ rpc: message }) => message?.method === method);

  test('reaches the event stream of the client once, under the names the client knows', async () => {
    const session = await openLegacy(url('/three'));
    const earlier = new Set([...paged.seen, ...other.seen]);
    const stream = await openStream(url('/three'), { headers: session.headers });
    await Promise.all([paged, other].map((server) => server.saw((seen) => seen.http === 'GET' && !earlier.has(seen))));
    const heard: string[] = [];
    const all = stream.event(({ data }) => {
      if (data !== '' && !heard.includes(data)) heard.push(data);
      return data.includes('test://last');
    });
    other.push({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    other.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://same' } });
    paged.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://same' } });
    await stream.event(({ data }) => data.includes('paged+test://same'));
    other.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://last' } });
    await all;
    expect(heard.map((data) => JSON.parse(data) as { method: string; params?: { uri: string } }).map(({ method, params }) => params?.uri ?? method).toSorted()).toEqual(
      ['notifications/tools/list_changed', 'other+test://last', 'other+test://same', 'paged+test://same'].toSorted(),
    );
    await stream.cut();
  });

  test('is set everywhere when the client sets a log level, and subscribed where the resource is', async () => {
    const session = await openLegacy(url('/three'));
    const before = [posted(paged, 'logging/setLevel').length, posted(other, 'logging/setLevel').length] as const;
    expect((await session.send(rpc('logging/setLevel', { level: 'error' }))).json?.result).toEqual({});
    expect(posted(paged, 'logging/setLevel').slice(before[0])).toHaveLength(1);
    expect(posted(other, 'logging/setLevel').slice(before[1])).toMatchObject([{ rpc: { params: { level: 'error' } } }]);
    await session.send(rpc('resources/subscribe', { uri: 'paged+test://mine' }));
    expect(posted(paged, 'resources/subscribe')).toMatchObject([{ rpc: { params: { uri: 'test://mine' } } }]);
    expect(posted(other, 'resources/subscribe')).toHaveLength(0);
  });

  test('a message of the stream is heard by one of two open streams, never by both', async () => {
    const session = await openLegacy(url('/three'));
    const earlier = new Set(other.seen);
    const streams = await Promise.all([1, 2].map(() => openStream(url('/three'), { headers: session.headers })));
    await other.saw((seen) => seen.http === 'GET' && !earlier.has(seen));
    const uris = Array.from({ length: 10 }, (_, n) => `test://broadcast-${n}`);
    const heard = streams.map(() => new Set<string>());
    const read = streams.map((stream, at) => stream.event(({ data }) => (data.includes('broadcast') && heard[at]?.add(data), false)).catch(() => undefined));
    for (const uri of uris) other.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } });
    await expect.poll(() => new Set(heard.flatMap((one) => [...one])).size).toBe(uris.length);
    await Promise.all(streams.map((stream) => stream.cut()));
    await Promise.all(read);
    expect(heard.reduce((sum, one) => sum + one.size, 0)).toBe(uris.length);
  });
});

describe('modern messages over several servers', () => {
  test('discover, list and call are merged, and the headers to each server say what its own message says', async () => {
    const from = other.seen.length;
    const { json } = await sendModern(url('/three'), 'tools/call', { name: 'other_echo', params: { arguments: { message: 'hi' } } });
    expect(textOf(json)).toBe('hi');
    const seen = other.seen.slice(from).find(({ rpc: message }) => message?.method === 'tools/call');
    expect(seen?.rpc?.params?.name).toBe('echo');
    expect(seen?.headers).toMatchObject({ 'mcp-name': 'echo', 'mcp-method': 'tools/call', 'mcp-protocol-version': '2026-07-28' });
    const discovered = (await sendModern(url('/three'), 'server/discover')).json?.result;
    expect(discovered).toMatchObject({ resultType: 'complete', supportedVersions: ['2026-07-28'], cacheScope: expect.any(String), capabilities: { tools: {} } });
  });

  test('one listen hears all servers, acknowledged once, with the URIs the client knows', async () => {
    const client = await connect('/two', 'auto');
    const updated: string[] = [];
    let toolsChanged = 0;
    client.setNotificationHandler('notifications/resources/updated', ({ params }) => void updated.push(params.uri));
    client.setNotificationHandler('notifications/tools/list_changed', () => void (toolsChanged += 1));
    await client.listen({ resourceSubscriptions: ['one+test://watched-resource', 'two+test://watched-resource'], toolsListChanged: true });
    await call(client, 'one_touch_resource');
    await call(client, 'two_touch_resource');
    await expect.poll(() => updated.toSorted()).toEqual(['one+test://watched-resource', 'two+test://watched-resource']);
    await call(client, 'two_test_trigger_tool_change');
    await expect.poll(() => toolsChanged).toBe(1);
    await call(client, 'two_test_trigger_tool_change');
  });

  test('input that a call requires comes back with its state to the server that asked for it', async () => {
    const first = (await sendModern(url('/two'), 'tools/call', { name: 'two_test_sampling', params: { arguments: { prompt: 'p' } }, meta: { 'io.modelcontextprotocol/clientCapabilities': { sampling: {} } } })).json?.result;
    expect(first).toMatchObject({ resultType: 'input_required', inputRequests: { completion: { method: 'sampling/createMessage' } } });
    const inputResponses = { completion: { model: 'm', role: 'assistant', content: { type: 'text', text: 'done' } } };
    const params = { arguments: { prompt: 'p' }, inputResponses, ...(first?.['requestState'] === undefined ? {} : { requestState: first['requestState'] }) };
    const second = await sendModern(url('/two'), 'tools/call', { name: 'two_test_sampling', params, meta: { 'io.modelcontextprotocol/clientCapabilities': { sampling: {} } } });
    expect(textOf(second.json)).toBe('LLM response: done');
  });
});
