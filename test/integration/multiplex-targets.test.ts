/** Several servers behind one URL: one set of names, one client, each message to and from the right one. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Multiplexed, startMultiplexed, toolNames } from '../world/multiplexed.ts';
import { callText } from '../world/sdk-client.ts';

const LIST_MS_MAX = 5_000;

let world: Multiplexed;
beforeAll(async () => {
  world = await startMultiplexed();
});
afterEach(() => world.closeClients());
afterAll(() => world?.stop());

describe.each(['legacy', 'auto'] as const)('for a client in mode %s', (mode) => {
  test('tools and prompts carry the name of their server, and lead back to it', async () => {
    const client = await world.connect('/two', mode);
    const tools = await toolNames(client);
    expect(tools).toEqual(expect.arrayContaining(['one_echo', 'two_echo']));
    expect(tools.every((name) => /^(one|two)_/.test(name))).toBe(true);
    const key = `key-${mode}`;
    expect(await callText(client, 'one_counter', { key })).toBe('1');
    expect(await callText(client, 'one_counter', { key })).toBe('2');
    expect(await callText(client, 'two_counter', { key })).toBe('1');
    expect((await client.listPrompts()).prompts.map(({ name }) => name)).toEqual(expect.arrayContaining(['one_test_simple_prompt', 'two_test_simple_prompt']));
    expect((await client.getPrompt({ name: 'two_test_simple_prompt' })).messages).toHaveLength(1);
  });

  test.each(['echo', 'three_echo', 'one_no_such_tool', '_echo'])('a tool %s that nobody serves is refused by its name', async (name) => {
    const client = await world.connect('/two', mode);
    await expect(client.callTool({ name, arguments: {} })).rejects.toThrow(name.startsWith('one_') ? /no_such_tool/ : name);
  });

  test('resources and templates carry the name of their server, lead back to it, and so do the URIs in results', async () => {
    const client = await world.connect('/two', mode);
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
    const client = await world.connect('/two', mode);
    const prompt = await client.complete({ ref: { type: 'ref/prompt', name: 'two_test_prompt_with_arguments' }, argument: { name: 'arg1', value: 'par' } });
    expect(prompt.completion.values).toEqual(['paris', 'park', 'party']);
    const template = await client.complete({ ref: { type: 'ref/resource', uri: 'one+test://template/{id}/data' }, argument: { name: 'id', value: '12' } });
    expect(template.completion.values).toEqual(['123', '124']);
  });

  test('the capabilities are those of all servers together', async () => {
    const client = await world.connect('/three', mode);
    expect(client.getServerCapabilities()).toMatchObject({ tools: { listChanged: true }, prompts: {}, resources: { subscribe: true }, completions: {}, logging: {} });
  });

  test('a server alone is prefixed only where the configuration says always', async () => {
    expect(await toolNames(await world.connect('/single', mode))).toContain('echo');
    const always = await world.connect('/always', mode);
    expect((await toolNames(always)).every((name) => name.startsWith('one_'))).toBe(true);
    expect(await callText(always, 'one_echo', { message: 'x' })).toBe('Echo: x');
  });

  test('without prefixes each tool is found where it is, and one that two servers have belongs to neither', async () => {
    const client = await world.connect('/never', mode);
    expect(await callText(client, 'counter', { key: `never-${mode}` })).toBe('1');
    const { completion } = await client.complete({ ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' }, argument: { name: 'arg1', value: 'par' } });
    expect(completion.values).toContain('paris');
    expect(await callText(client, 'stderr')).toBe('stderr');
    const tools = await toolNames(client);
    expect(tools).toEqual(expect.arrayContaining(['counter']));
    expect(tools).not.toContain('echo');
    await expect(client.callTool({ name: 'echo', arguments: {} })).rejects.toThrow('Unknown tool: echo');
  });

  test('one server that goes silent delays a list no longer than its own time: with failOpen the list is there without it', async () => {
    const client = await world.connect('/open', mode);
    const began = performance.now();
    expect(await toolNames(client)).toContain('one_echo');
    expect(performance.now() - began).toBeLessThan(LIST_MS_MAX);
    expect(await callText(client, 'mute_echo', { message: 'can still be called' })).toBe('can still be called');
  });

  test('one server that goes silent fails the list with failClosed, soon and by its name', async () => {
    const client = await world.connect('/closed', mode);
    const began = performance.now();
    await expect(client.listTools()).rejects.toThrow(/mute did not answer tools\/list in time/);
    expect(performance.now() - began).toBeLessThan(LIST_MS_MAX);
    expect(await callText(client, 'one_echo', { message: 'others work' })).toBe('Echo: others work');
  });

  test('progress and cancellation reach the one right server', async () => {
    const client = await world.connect('/two', mode);
    const before = [await callText(client, 'one_cancelled_calls'), await callText(client, 'two_cancelled_calls')].map(Number) as [number, number];
    const cancel = new AbortController();
    const arrived = Promise.withResolvers<void>();
    const kept = client.callTool({ name: 'one_slow', arguments: { ms: 400 } });
    const slow = client.callTool({ name: 'two_slow', arguments: { ms: 60_000 } }, { signal: cancel.signal, onprogress: () => arrived.resolve() });
    await arrived.promise;
    cancel.abort();
    await expect(slow).rejects.toThrow();
    await expect.poll(() => callText(client, 'two_cancelled_calls')).toBe(String(before[1] + 1));
    expect((await kept).content).toMatchObject([{ text: 'Waited 400 ms' }]);
    expect(await callText(client, 'one_cancelled_calls')).toBe(String(before[0]));
  });

  test('both servers ask the client at the same time, and each gets its own answer', async () => {
    const client = await world.connect('/two', mode);
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
      callText(client, 'one_test_sampling', { prompt: 'first' }),
      callText(client, 'two_test_sampling', { prompt: 'second' }),
      callText(client, 'two_test_elicitation', { message: 'who' }),
    ]);
    expect([first, second]).toEqual(['LLM response: answer to first', 'LLM response: answer to second']);
    expect(third).toContain('"username":"u"');
  });

  test('a server is refused what the client does not offer', async () => {
    const client = await world.connect('/two', mode, {});
    const outcome = await client.callTool({ name: 'one_test_sampling', arguments: { prompt: 'p' } }).then(
      (result) => (result.isError === true ? 'refused' : 'answered'),
      () => 'refused',
    );
    expect(outcome).toBe('refused');
  });
});
