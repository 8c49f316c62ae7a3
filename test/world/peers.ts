/** Real MCP servers from npm behind a real `parley up`: one route, and so one set of multiplexed targets, per path. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCommand } from './command.ts';
import { freePort } from './port.ts';

const PACKAGES = join(import.meta.dirname, '../../node_modules');

export type ServerName = 'everything' | 'filesystem' | 'memory' | 'context7';

/** A server from npm over stdio, or any server by its URL. */
export type PeerTarget = ServerName | { readonly name: string; readonly url: string };

export interface Peers {
  url(path: string): URL;
  /** What server-filesystem may see; it holds `hello.txt`. */
  readonly files: string;
  /** For what a client wants to keep; removed with the rest. */
  readonly scratch: string;
  stop(): Promise<void>;
}

/** @param routes the targets by path; the path `/sse` is the one that serves HTTP+SSE. */
export async function startPeers(routes: Readonly<Record<string, readonly PeerTarget[]>>): Promise<Peers> {
  const folder = await mkdtemp(join(tmpdir(), 'parley-peers-'));
  const files = join(folder, 'files');
  await mkdir(files);
  await writeFile(join(files, 'hello.txt'), 'hello from a file');
  const port = await freePort();
  const document = {
    gateways: { default: { port } },
    routes: Object.entries(routes).map(([path, targets], index) => ({
      name: `route-${index}`,
      matches: [{ path: { exact: path } }],
      backends: [{ mcp: { targets: targets.map((target) => targetOf(target, join(folder, `memory-${index}.json`), files)) } }],
    })),
  };
  const config = join(folder, 'parley.yaml');
  await writeFile(config, JSON.stringify(document));
  const command = startCommand(['up', '-f', config, '--data', join(folder, 'data')]);
  const stop = async (): Promise<void> => {
    await command.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await command.line(/^ready after/);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: (path) => new URL(path, `http://127.0.0.1:${port}`), files, scratch: folder, stop };
}

function targetOf(target: PeerTarget, memoryFile: string, files: string): unknown {
  if (typeof target !== 'string') return { name: target.name, mcp: { host: target.url } };
  const stdio = (script: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) => ({
    name: target,
    stdio: { cmd: process.execPath, args: [join(PACKAGES, script), ...args], env },
  });
  switch (target) {
    case 'everything':
      return stdio('@modelcontextprotocol/server-everything/dist/index.js', ['stdio']);
    case 'filesystem':
      return stdio('@modelcontextprotocol/server-filesystem/dist/index.js', [files]);
    case 'memory':
      return stdio('@modelcontextprotocol/server-memory/dist/index.js', [], { MEMORY_FILE_PATH: memoryFile });
    case 'context7':
      return stdio('@upstash/context7-mcp/dist/index.js');
  }
}
