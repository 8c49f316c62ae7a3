/** Real servers from npm, two at a time behind one URL, through a real `parley up`. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { v1Http, v1OverMcpRemote, v2Auto, v2Default, v2Pinned } from '../world/peer-clients.ts';
import type { Connect, Peer } from '../world/peer-clients.ts';
import { startPeers } from '../world/peers.ts';
import { freePort } from '../world/port.ts';
import type { Peers, ServerName } from '../world/peers.ts';

const CONTEXT7 = join(import.meta.dirname, '../../node_modules/@upstash/context7-mcp/dist/index.js');
const CONTEXT7_TOOLS = ['query-docs', 'resolve-library-id'];

let peers: Peers;
let context7: { child: ChildProcess; url: string };

beforeAll(async () => {
  context7 = await startContext7();
  peers = await startPeers({
    '/everything-filesystem': ['everything', 'filesystem'],
    '/everything-memory': ['everything', 'memory'],
    '/filesystem-memory': ['filesystem', 'memory'],
    '/mixed': ['everything', 'context7'],
    '/mixed-http': ['memory', { name: 'docs', url: context7.url }],
  });
});

afterAll(async () => {
  await peers?.stop();
  if (context7.child.exitCode === null && context7.child.kill()) await once(context7.child, 'exit');
});

/** server-memory keeps what it is told in a file, and answers with what it did not know yet. */
let people = 0;

/** One call per server that needs nothing but the server. */
const CALLS: Readonly<Record<Exclude<ServerName, 'context7'>, { tool: string; args: () => Record<string, unknown>; answer: string }>> = {
  everything: { tool: 'echo', args: () => ({ message: 'hi' }), answer: 'Echo: hi' },
  filesystem: { tool: 'read_text_file', args: () => ({ path: join(peers.files, 'hello.txt') }), answer: 'hello from a file' },
  memory: { tool: 'create_entities', args: () => ({ entities: [{ name: `Ada ${people++}`, entityType: 'person', observations: ['writes programs'] }] }), answer: 'writes programs' },
};

describe.each([
  ['everything', 'filesystem'],
  ['everything', 'memory'],
  ['filesystem', 'memory'],
] as const)('%s and %s behind one URL', (...names) => {
  describe.each([['the v1 SDK', v1Http], ['the v2 SDK', v2Default], ['mcp-remote', v1OverMcpRemote]] as const)('%s', (_name, connect) => {
    let peer: Peer;
    beforeAll(async () => {
      peer = await connect(peers.url(`/${names.join('-')}`), peers.scratch);
    });
    afterAll(() => peer?.close());

    test('lists the tools of both, each under the name of its server and in the order of the configuration', async () => {
      const prefixes = (await peer.tools()).map((name) => name.slice(0, name.indexOf('_')));
      expect([...new Set(prefixes)]).toEqual(names);
    });

    test.each(names)('calls a tool of %s', async (name) => {
      const { tool, args, answer } = CALLS[name];
      expect(await peer.call(`${name}_${tool}`, args())).toContain(answer);
    });

    test('is told when neither has the tool', async () => {
      const outcome = await peer.call('nobody_echo', {}).catch((error: Error) => error.message);
      expect(outcome).toContain('Unknown tool: nobody_echo');
    });
  });
});

describe.each([
  ['/mixed', 'everything', 'context7'],
  ['/mixed-http', 'memory', 'docs'],
] as const)('a legacy and a dual-era server behind one URL (%s)', (path, legacy, modern) => {
  const MODERN_TOOLS = CONTEXT7_TOOLS.map((name) => `${modern}_${name}`);

  const connected = async <T>(connect: Connect, work: (peer: Peer) => Promise<T>): Promise<T> => {
    const peer = await connect(peers.url(path), peers.scratch);
    try {
      return await work(peer);
    } finally {
      await peer.close();
    }
  };

  test.each([['asks for it first', v2Auto], ['insists on it', v2Pinned]] as const)('show a client that speaks the modern era and %s the modern server alone', async (_how, connect) => {
    await connected(connect, async (peer) => {
      expect(peer.era).toBe('modern');
      expect((await peer.tools()).toSorted()).toEqual(MODERN_TOOLS);
    });
  });

  test('answer a modern client that calls a tool of the legacy server as if it were not there', async () => {
    const outcome = await connected(v2Pinned, (peer) => peer.call(`${legacy}_echo`).catch((error: Error) => error.message));
    expect(outcome).toContain(`Unknown tool: ${legacy}_echo`);
  });

  test.each([['v1', v1Http], ['v2', v2Default]] as const)('show a legacy client of the %s SDK both', async (_sdk, connect) => {
    await connected(connect, async (peer) => {
      const tools = await peer.tools();
      expect(tools).toEqual(expect.arrayContaining(MODERN_TOOLS));
      expect(await peer.call(`${legacy}_${CALLS[legacy].tool}`, CALLS[legacy].args())).toContain(CALLS[legacy].answer);
    });
  });

  test('pass a call of a modern client to the modern server, which answers for its own arguments', async () => {
    const outcome = await connected(v2Pinned, (peer) => peer.call(`${modern}_query-docs`, { libraryId: 7 }).catch((error: Error) => error.message));
    expect(outcome).toMatch(/invalid|expected/i);
  });
});

/** It says on stderr which port it took. */
async function startContext7(): Promise<{ child: ChildProcess; url: string }> {
  const port = await freePort();
  const child = spawn(process.execPath, [CONTEXT7, '--transport', 'http', '--port', String(port)], { stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface({ input: child.stderr })) {
    const taken = /http:\/\/localhost:(\d+)\/mcp/.exec(line)?.[1];
    if (taken !== undefined) {
      child.stderr.resume();
      return { child, url: `http://127.0.0.1:${taken}/mcp` };
    }
  }
  throw new Error('context7-mcp ended without saying where it listens');
}
