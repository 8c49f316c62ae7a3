/** Real MCP clients behind one face, so that one list of expectations serves them all. Each offers all a client can be asked for. */
import { join } from 'node:path';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import type { VersionNegotiationMode } from '@modelcontextprotocol/client';

const MCP_REMOTE = join(import.meta.dirname, '../../node_modules/mcp-remote/dist/proxy.js');

const INFO = { name: 'parley-peer', version: '1.0.0' };
const CAPABILITIES = { sampling: {}, elicitation: { form: {} }, roots: {} };

/** What the person, the model and the workspace behind a client answer. */
export const ANSWERS = { name: 'Ada', sampled: 'forty-two', root: 'file:///workspace' } as const;

export interface Peer {
  /** Which era and revision it talks. */
  readonly era: 'legacy' | 'modern';
  tools(): Promise<string[]>;
  /** The texts of the result, joined; an answer that is an error rejects or says so in its text. */
  call(name: string, args?: Record<string, unknown>, onProgress?: (progress: number) => void): Promise<string>;
  readonly subscribe: (uri: string) => Promise<unknown>;
  readonly setLevel: (level: 'debug') => Promise<unknown>;
  /** The URI of a resource that changed: the next one not asked for yet. */
  updated(): Promise<string>;
  logged(): Promise<string>;
  close(): Promise<void>;
}

export type Connect = (url: URL, scratch: string) => Promise<Peer>;

export const v1Http: Connect = (url) => connectV1(new HttpV1(url) as Transport);
export const v1Sse: Connect = (url) => connectV1(new SSEClientTransport(url));

/** A client that only knows stdio, and mcp-remote as the bridge it is configured with. */
export const v1OverMcpRemote: Connect = (url, scratch) =>
  connectV1(
    new StdioClientTransport({
      command: process.execPath,
      args: [MCP_REMOTE, url.href, '--transport', 'http-only', '--allow-http'],
      env: { PATH: process.env['PATH'] ?? '', HOME: scratch, MCP_REMOTE_CONFIG_DIR: join(scratch, 'mcp-remote') },
      stderr: 'ignore',
    }),
  );

export const v2Default: Connect = (url) => connectV2(url, undefined);
export const v2Auto: Connect = (url) => connectV2(url, 'auto');
export const v2Pinned: Connect = (url) => connectV2(url, { pin: '2026-07-28' });

async function connectV1(transport: Transport): Promise<Peer> {
  const client = new ClientV1(INFO, { capabilities: CAPABILITIES });
  const updated = new Heard();
  const logged = new Heard();
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept' as const, content: { name: ANSWERS.name } }));
  client.setRequestHandler(CreateMessageRequestSchema, () => ({ role: 'assistant' as const, model: 'a-model', content: { type: 'text' as const, text: ANSWERS.sampled } }));
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: ANSWERS.root }] }));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => updated.hear(params.uri));
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => logged.hear(String(params.data)));
  await client.connect(transport);
  return {
    era: 'legacy',
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args = {}, onProgress) => {
      const onprogress = onProgress && (({ progress }: { progress: number }) => onProgress(progress));
      const result = await client.callTool({ name, arguments: args }, undefined, onprogress === undefined ? {} : { onprogress });
      return textOf(result['content']);
    },
    subscribe: (uri) => client.subscribeResource({ uri }),
    setLevel: (level) => client.setLoggingLevel(level),
    updated: () => updated.next(),
    logged: () => logged.next(),
    close: () => client.close(),
  };
}

async function connectV2(url: URL, mode: VersionNegotiationMode | undefined): Promise<Peer> {
  const client = new ClientV2(INFO, { capabilities: CAPABILITIES, ...(mode === undefined ? {} : { versionNegotiation: { mode } }) });
  const updated = new Heard();
  const logged = new Heard();
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept' as const, content: { name: ANSWERS.name } }));
  client.setRequestHandler('sampling/createMessage', () => ({ role: 'assistant' as const, model: 'a-model', content: { type: 'text' as const, text: ANSWERS.sampled } }));
  client.setRequestHandler('roots/list', () => ({ roots: [{ uri: ANSWERS.root }] }));
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => updated.hear(params.uri));
  client.setNotificationHandler('notifications/message', ({ params }) => logged.hear(String(params.data)));
  await client.connect(new HttpV2(url));
  return {
    era: client.getProtocolEra() ?? 'legacy',
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args = {}, onProgress) => {
      const onprogress = onProgress && (({ progress }: { progress: number }) => onProgress(progress));
      const result = await client.callTool({ name, arguments: args }, onprogress === undefined ? {} : { onprogress });
      return textOf(result.content);
    },
    subscribe: (uri) => client.subscribeResource({ uri }),
    setLevel: (level) => client.setLoggingLevel(level),
    updated: () => updated.next(),
    logged: () => logged.next(),
    close: () => client.close(),
  };
}

/** What came is kept for who asks later; who asks first waits. */
class Heard {
  readonly #come: string[] = [];
  readonly #asked: ((text: string) => void)[] = [];

  hear(text: string): void {
    const asked = this.#asked.shift();
    if (asked) asked(text);
    else this.#come.push(text);
  }

  next(): Promise<string> {
    const come = this.#come.shift();
    return come === undefined ? new Promise((resolve) => this.#asked.push(resolve)) : Promise.resolve(come);
  }
}

const textOf = (content: unknown): string => (content as readonly { text?: string }[]).map(({ text = '' }) => text).join('\n');
