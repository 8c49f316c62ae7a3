/** Every client in front of one real server, through a real `parley up`: the whole of what a legacy conversation can hold. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { ANSWERS, v1Http, v1OverMcpRemote, v1Sse, v2Auto, v2Default, v2Pinned } from '../world/peer-clients.ts';
import type { Connect, Peer } from '../world/peer-clients.ts';
import { startPeers } from '../world/peers.ts';
import type { Peers } from '../world/peers.ts';

const INSPECTOR = join(import.meta.dirname, '../../node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');
const RESOURCE = 'demo://resource/static/document/features.md';
const run = promisify(execFile);

let peers: Peers;
let modernOnly: Everything;

beforeAll(async () => {
  modernOnly = await startEverything({ era: 'modern' });
  peers = await startPeers({ '/mcp': ['everything'], '/sse': ['everything'], '/modern': [{ name: 'modern', url: modernOnly.url }] });
});

afterAll(async () => {
  await peers?.stop();
  await modernOnly?.close();
});

const CLIENTS: readonly (readonly [string, Connect, string])[] = [
  ['the v1 SDK', v1Http, '/mcp'],
  ['the v1 SDK over HTTP+SSE', v1Sse, '/sse'],
  ['a stdio client behind mcp-remote', v1OverMcpRemote, '/mcp'],
  ['the v2 SDK', v2Default, '/mcp'],
  ['the v2 SDK that asks for the modern era first', v2Auto, '/mcp'],
];

describe.each(CLIENTS)('%s', (_name, connect, path) => {
  let peer: Peer;
  beforeAll(async () => {
    peer = await connect(peers.url(path), peers.scratch);
  });
  afterAll(() => peer?.close());

  test('settles on the era of the server', () => expect(peer.era).toBe('legacy'));

  test('lists the tools the server shows to a client with its capabilities', async () => {
    const tools = await peer.tools();
    for (const name of ['echo', 'get-sum', 'trigger-elicitation-request', 'trigger-sampling-request', 'get-roots-list']) expect(tools).toContain(name);
  });

  test('calls a tool', async () => expect(await peer.call('echo', { message: 'hi' })).toBe('Echo: hi'));

  test('hears the progress of a long call, step by step', async () => {
    const heard: number[] = [];
    const text = await peer.call('trigger-long-running-operation', { duration: 0.6, steps: 3 }, (progress) => heard.push(progress));
    expect(text).toContain('completed');
    // An SDK that gets the last step and the result in one read forgets the call before it hears the step.
    expect(heard.slice(0, 2)).toEqual([1, 2]);
  });

  test('is asked for input in the middle of a call', async () => {
    expect(await peer.call('trigger-elicitation-request')).toContain(`- Name: ${ANSWERS.name}`);
  });

  test('is asked for a completion of its model in the middle of a call', async () => {
    expect(await peer.call('trigger-sampling-request', { prompt: 'what is six by nine?' })).toContain(ANSWERS.sampled);
  });

  test('is asked for its roots', async () => expect(await peer.call('get-roots-list')).toContain(ANSWERS.root));

  test('hears of changes of a resource it subscribed to', async () => {
    await peer.subscribe(RESOURCE);
    await peer.call('toggle-subscriber-updates');
    expect(await peer.updated()).toBe(RESOURCE);
  });

  test('hears the log of the server at the level it asked for', async () => {
    await peer.setLevel('debug');
    await peer.call('toggle-simulated-logging');
    expect(await loggedLike(peer, /level.message/)).toBeDefined();
  });
});

/** The server logs more than the tool makes it log; the rest comes first. */
async function loggedLike(peer: Peer, pattern: RegExp): Promise<string | undefined> {
  for (let lines = 0; lines < 20; lines += 1) {
    const line = await peer.logged();
    if (pattern.test(line)) return line;
  }
  return undefined;
}

describe('a client of the era its server does not speak', () => {
  test('is told so when it insists on the modern one', async () => {
    await expect(v2Pinned(peers.url('/mcp'), peers.scratch)).rejects.toThrow(/version/i);
  });

  test.each([['the v1 SDK', v1Http], ['the v2 SDK', v2Default]] as const)('is told so when it knows the legacy one only: %s', async (_name, connect) => {
    await expect(connect(peers.url('/modern'), peers.scratch)).rejects.toThrow(/Unsupported protocol version/);
  });

  test('is served when it only asks for the modern one first', async () => {
    const peer = await v2Auto(peers.url('/modern'), peers.scratch);
    expect(peer.era).toBe('modern');
    expect(await peer.call('echo', { message: 'hi' })).toContain('hi');
    await peer.close();
  });
});

describe.each([['asks for the modern era first', v2Auto], ['insists on the modern era', v2Pinned]] as const)('a client that %s, and a server that has it', (_how, connect) => {
  let peer: Peer;
  beforeAll(async () => {
    peer = await connect(peers.url('/modern'), peers.scratch);
  });
  afterAll(() => peer?.close());

  test('lists the tools', async () => expect(await peer.tools()).toContain('echo'));

  test('hears the progress of a call', async () => {
    const heard: number[] = [];
    await peer.call('test_tool_with_progress', {}, (progress) => heard.push(progress));
    expect(heard.length).toBeGreaterThan(0);
  });

  test('answers what the result of a call asks it, and gets the real one', async () => {
    expect(await peer.call('test_input_required_result_elicitation')).toContain(`Hello, ${ANSWERS.name}`);
    expect(await peer.call('test_input_required_result_sampling')).toContain(ANSWERS.sampled);
    expect(await peer.call('test_input_required_result_list_roots')).toContain(ANSWERS.root);
  });
});

describe('a client whose event stream is open', () => {
  test('does not hold up the end of the gateway', async () => {
    const own = await startPeers({ '/mcp': ['memory'] });
    const peer = await v1Http(own.url('/mcp'), own.scratch);
    await peer.tools();
    const began = performance.now();
    await own.stop();
    // Answers under way may take ten seconds; a stream that has no end is none.
    expect(performance.now() - began).toBeLessThan(6_000);
    await peer.close();
  });
});

describe('the inspector on the command line', () => {
  const inspect = async (...args: string[]): Promise<unknown> => {
    const { stdout } = await run(process.execPath, [INSPECTOR, '--cli', peers.url('/mcp').href, '--transport', 'http', ...args], { env: { ...process.env, HOME: peers.scratch }, timeout: 30_000 });
    return JSON.parse(stdout);
  };

  test('lists the tools', async () => {
    const { tools } = (await inspect('--method', 'tools/list')) as { tools: { name: string }[] };
    expect(tools.map(({ name }) => name)).toContain('echo');
  });

  test('calls a tool', async () => {
    const result = await inspect('--method', 'tools/call', '--tool-name', 'echo', '--tool-arg', 'message=hi');
    expect(result).toMatchObject({ content: [{ type: 'text', text: 'Echo: hi' }] });
  });
});
