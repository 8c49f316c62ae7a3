/** Four processes against one nats-server, each started as an operator would, used by an official client of each era. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { type HttpAuthorizer, startHttpAuthorizer } from '../world/authorizer.ts';
import { startCommand, type Command } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { freePort } from '../world/port.ts';
import { callText } from '../world/sdk-client.ts';

const KEY = 'planted-in-the-document';
const SERVICES = ['policy', 'session', 'connector', 'ingress'] as const;

let nats: NatsWorld;
let everything: Everything;
/** Asked by the connector, which alone can say who asks. */
let authorizer: HttpAuthorizer;
let folder: string;
let url: string;
const running = new Map<(typeof SERVICES)[number], Command>();
const clients: Client[] = [];

beforeAll(async () => {
  [nats, everything, authorizer, folder] = await Promise.all([startNats(), startEverything(), startHttpAuthorizer(({ headers }, response) => void response.writeHead(headers['x-key'] === KEY ? 200 : 403).end()), mkdtemp(join(tmpdir(), 'parley-four-'))]);
  const port = await freePort();
  url = `http://127.0.0.1:${port}/mcp`;
  const config = join(folder, 'config.yaml');
  const extAuthz = { host: authorizer.host, protocol: { http: {} }, policies: { backendAuth: { key: { value: KEY, location: { header: { name: 'x-key' } } } } } };
  await writeFile(config, stringify({ config: { session: { key: '$SESSION_KEY' } }, mcp: { port, policies: { extAuthz }, targets: [{ name: 'everything', mcp: { host: everything.url } }] } }));
  const start = (service: (typeof SERVICES)[number], ...more: readonly string[]): Command => {
    const command = startCommand(['run', service, ...more], { NATS_URL: nats.url, SESSION_KEY: '5e'.repeat(32) });
    running.set(service, command);
    return command;
  };
  // The others are ready without a configuration, too: they find it there.
  await start('policy', '-f', config).line(/^ready after/);
  for (const service of SERVICES.filter((name) => name !== 'policy')) start(service);
  await Promise.all([...running.values()].map((command) => command.line(/^ready after/)));
});
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));
afterAll(async () => {
  await Promise.all([...running.values()].map((command) => command.stop()));
  await Promise.all([nats.stop(), everything.close(), authorizer.close(), rm(folder, { recursive: true, force: true })]);
});

async function connect(mode: 'legacy' | 'auto'): Promise<Client> {
  const client = new Client({ name: 'four', version: '1' }, { capabilities: { elicitation: {}, sampling: {} }, versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  clients.push(client);
  return client;
}

describe.each([
  ['legacy', '2025-11-25'],
  ['auto', '2026-07-28'],
] as const)('through four processes a client in mode %s', (mode, revision) => {
  test('speaks its own revision, and finds tools, prompts, resources and templates', async () => {
    const client = await connect(mode);
    expect(client.getNegotiatedProtocolVersion()).toBe(revision);
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo');
    expect((await client.listPrompts()).prompts.map(({ name }) => name)).toContain('test_simple_prompt');
    expect((await client.listResources()).resources.map(({ uri }) => uri)).toContain('test://static-text');
    expect((await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toContain('test://template/{id}/data');
  });

  test('calls, reads, and is prompted', async () => {
    const client = await connect(mode);
    expect(await callText(client, 'echo', { message: 'grüße 🦜' })).toBe('Echo: grüße 🦜');
    const { contents } = await client.readResource({ uri: 'test://template/7/data' });
    expect(contents[0]).toMatchObject({ uri: 'test://template/7/data' });
    expect((await client.getPrompt({ name: 'test_simple_prompt' })).messages).toHaveLength(1);
    await expect(client.callTool({ name: 'no_such_tool', arguments: {} })).rejects.toThrow(/no_such_tool/);
  });

  test('hears progress in order before the result, however much of it', async () => {
    const client = await connect(mode);
    const seen: number[] = [];
    await client.callTool({ name: 'flood', arguments: { count: 500, bytes: 1_000 } }, { onprogress: ({ progress }) => void seen.push(progress) });
    expect(seen).toEqual(Array.from({ length: 500 }, (_, n) => n + 1));
  });

  test('is asked by the server while it calls', async () => {
    const client = await connect(mode);
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { username: 'u', email: 'e@example.com' } }));
    expect(await callText(client, 'test_elicitation', { message: 'Who?' })).toContain('"username":"u"');
    client.setRequestHandler('sampling/createMessage', () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled' } }));
    expect(await callText(client, 'test_sampling', { prompt: 'p' })).toBe('LLM response: sampled');
  });

  test('stops a call at its server when it cancels', async () => {
    const client = await connect(mode);
    const before = Number(await callText(client, 'cancelled_calls'));
    const cancel = new AbortController();
    const arrived = Promise.withResolvers<void>();
    const slow = client.callTool({ name: 'slow', arguments: { ms: 60_000 } }, { signal: cancel.signal, onprogress: () => arrived.resolve() });
    await arrived.promise;
    cancel.abort();
    await expect(slow).rejects.toThrow();
    await expect.poll(() => callText(client, 'cancelled_calls')).toBe(String(before + 1));
  });

  test('does many things at once', async () => {
    const client = await connect(mode);
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => callText(client, 'echo', { message: `${n}` })));
    expect(answers).toEqual(Array.from({ length: 100 }, (_, n) => `Echo: ${n}`));
  });
});

test('a legacy subscriber and a modern listener hear of the same resource through four processes', async () => {
  const [legacy, modern] = await Promise.all([connect('legacy'), connect('auto')]);
  const updated = (client: Client) => new Promise<string>((resolve) => client.setNotificationHandler('notifications/resources/updated', ({ params }) => resolve(params.uri)));
  const heard = [updated(legacy), updated(modern)];
  await legacy.subscribeResource({ uri: 'test://watched-resource' });
  await modern.listen({ resourceSubscriptions: ['test://watched-resource'] });
  await callText(modern, 'touch_resource');
  expect(await Promise.all(heard)).toEqual(['test://watched-resource', 'test://watched-resource']);
});

test('each process says what it runs, and stops when it is asked to', async () => {
  for (const [service, command] of running) {
    expect(await command.line(new RegExp(`^starting ${service}$`))).toContain(service);
    command.signal('SIGTERM');
    expect(await command.ended).toMatchObject({ code: 0, signal: null });
  }
});
