/** Several servers behind one URL, on the wire: their pages, one that is not there, what they say by themselves, and modern messages. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { MOODS } from '../fixtures/misbehaving/moods.ts';
import { type Multiplexed, startMultiplexed, toolNames } from '../world/multiplexed.ts';
import { callText } from '../world/sdk-client.ts';
import { initializeOf, openLegacy, openStream, rpc, send, sendModern, textOf } from '../world/wire.ts';

let world: Multiplexed;
beforeAll(async () => {
  world = await startMultiplexed();
});
afterEach(() => world.closeClients());
afterAll(() => world?.stop());

describe('pages of several servers', () => {
  test.each(['legacy', 'modern'] as const)('are read with cursors of ours until each server has no more (%s)', async (era) => {
    const session = era === 'legacy' ? await openLegacy(world.url('/three')) : undefined;
    const page = async (cursor: string | undefined) => {
      const params = cursor === undefined ? {} : { cursor };
      return (session ? await session.send(rpc('tools/list', params)) : await sendModern(world.url('/three'), 'tools/list', { params })).json;
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
    const { json } = await send(world.url('/gone'), { body: initializeOf() });
    expect(json?.error?.message).toMatch(/^nobody at \S+ cannot be used: ECONNREFUSED$/);
  });

  test('is left out with failOpen, in both eras', async () => {
    for (const mode of ['legacy', 'auto'] as const) {
      const client = await world.connect('/gone-open', mode);
      const tools = await toolNames(client);
      expect(tools).toContain('one_echo');
      expect(tools.some((name) => name.startsWith('nobody'))).toBe(false);
      await expect(client.callTool({ name: 'nobody_echo', arguments: {} })).rejects.toThrow('nobody_echo');
    }
  });
});

describe('what several legacy servers say by themselves', () => {
  const posted = (server: MisbehavingHttp, method: string) => server.seen.filter(({ rpc: message }) => message?.method === method);

  test('reaches the event stream of the client once, under the names the client knows', async () => {
    const session = await openLegacy(world.url('/three'));
    const earlier = new Set([...world.paged.seen, ...world.other.seen]);
    const stream = await openStream(world.url('/three'), { headers: session.headers });
    await Promise.all([world.paged, world.other].map((server) => server.saw((seen) => seen.http === 'GET' && !earlier.has(seen))));
    const heard: string[] = [];
    const all = stream.event(({ data }) => {
      if (data !== '' && !heard.includes(data)) heard.push(data);
      return data.includes('test://last');
    });
    world.other.push({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    world.other.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://same' } });
    world.paged.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://same' } });
    await stream.event(({ data }) => data.includes('paged+test://same'));
    world.other.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://last' } });
    await all;
    expect(heard.map((data) => JSON.parse(data) as { method: string; params?: { uri: string } }).map(({ method, params }) => params?.uri ?? method).toSorted()).toEqual(
      ['notifications/tools/list_changed', 'other+test://last', 'other+test://same', 'paged+test://same'].toSorted(),
    );
    await stream.cut();
  });

  test('is set everywhere when the client sets a log level, and subscribed where the resource is', async () => {
    const session = await openLegacy(world.url('/three'));
    const before = [posted(world.paged, 'logging/setLevel').length, posted(world.other, 'logging/setLevel').length] as const;
    expect((await session.send(rpc('logging/setLevel', { level: 'error' }))).json?.result).toEqual({});
    expect(posted(world.paged, 'logging/setLevel').slice(before[0])).toHaveLength(1);
    expect(posted(world.other, 'logging/setLevel').slice(before[1])).toMatchObject([{ rpc: { params: { level: 'error' } } }]);
    await session.send(rpc('resources/subscribe', { uri: 'paged+test://mine' }));
    expect(posted(world.paged, 'resources/subscribe')).toMatchObject([{ rpc: { params: { uri: 'test://mine' } } }]);
    expect(posted(world.other, 'resources/subscribe')).toHaveLength(0);
  });

  test('a message of the stream is heard by one of two open streams, never by both', async () => {
    const session = await openLegacy(world.url('/three'));
    const earlier = new Set(world.other.seen);
    const streams = await Promise.all([1, 2].map(() => openStream(world.url('/three'), { headers: session.headers })));
    await world.other.saw((seen) => seen.http === 'GET' && !earlier.has(seen));
    const uris = Array.from({ length: 10 }, (_, n) => `test://broadcast-${n}`);
    const heard = streams.map(() => new Set<string>());
    const read = streams.map((stream, at) => stream.event(({ data }) => (data.includes('broadcast') && heard[at]?.add(data), false)).catch(() => undefined));
    for (const uri of uris) world.other.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } });
    await expect.poll(() => new Set(heard.flatMap((one) => [...one])).size).toBe(uris.length);
    await Promise.all(streams.map((stream) => stream.cut()));
    await Promise.all(read);
    expect(heard.reduce((sum, one) => sum + one.size, 0)).toBe(uris.length);
  });
});

describe('modern messages over several servers', () => {
  test('discover, list and call are merged, and the headers to each server say what its own message says', async () => {
    const from = world.other.seen.length;
    const { json } = await sendModern(world.url('/three'), 'tools/call', { name: 'other_echo', params: { arguments: { message: 'hi' } } });
    expect(textOf(json)).toBe('hi');
    const seen = world.other.seen.slice(from).find(({ rpc: message }) => message?.method === 'tools/call');
    expect(seen?.rpc?.params?.name).toBe('echo');
    expect(seen?.headers).toMatchObject({ 'mcp-name': 'echo', 'mcp-method': 'tools/call', 'mcp-protocol-version': '2026-07-28' });
    const discovered = (await sendModern(world.url('/three'), 'server/discover')).json?.result;
    expect(discovered).toMatchObject({ resultType: 'complete', supportedVersions: ['2026-07-28'], cacheScope: expect.any(String), capabilities: { tools: {} } });
  });

  test('one listen hears all servers, acknowledged once, with the URIs the client knows', async () => {
    const client = await world.connect('/two', 'auto');
    const updated: string[] = [];
    let toolsChanged = 0;
    client.setNotificationHandler('notifications/resources/updated', ({ params }) => void updated.push(params.uri));
    client.setNotificationHandler('notifications/tools/list_changed', () => void (toolsChanged += 1));
    await client.listen({ resourceSubscriptions: ['one+test://watched-resource', 'two+test://watched-resource'], toolsListChanged: true });
    await callText(client, 'one_touch_resource');
    await callText(client, 'two_touch_resource');
    await expect.poll(() => updated.toSorted()).toEqual(['one+test://watched-resource', 'two+test://watched-resource']);
    await callText(client, 'two_test_trigger_tool_change');
    await expect.poll(() => toolsChanged).toBe(1);
    await callText(client, 'two_test_trigger_tool_change');
  });

  test('input that a call requires comes back with its state to the server that asked for it', async () => {
    const first = (await sendModern(world.url('/two'), 'tools/call', { name: 'two_test_sampling', params: { arguments: { prompt: 'p' } }, meta: { 'io.modelcontextprotocol/clientCapabilities': { sampling: {} } } })).json?.result;
    expect(first).toMatchObject({ resultType: 'input_required', inputRequests: { completion: { method: 'sampling/createMessage' } } });
    const inputResponses = { completion: { model: 'm', role: 'assistant', content: { type: 'text', text: 'done' } } };
    const params = { arguments: { prompt: 'p' }, inputResponses, ...(first?.['requestState'] === undefined ? {} : { requestState: first['requestState'] }) };
    const second = await sendModern(world.url('/two'), 'tools/call', { name: 'two_test_sampling', params, meta: { 'io.modelcontextprotocol/clientCapabilities': { sampling: {} } } });
    expect(textOf(second.json)).toBe('LLM response: done');
  });
});
