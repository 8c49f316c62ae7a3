/** One MCP conversation of `parley tools` and `parley call`, on the official SDK, in either era. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { CallToolResult, Tool } from '@modelcontextprotocol/client';
import type { Era } from '../arguments.ts';
import { clientProblem } from '../show/client-problem.ts';
import { VERSION } from '../version.ts';
import { say } from './terminal.ts';

const MODERN_VERSION = '2026-07-28';
const CONNECT_MS = 15_000;
/** Without a word from the tool; progress starts it again. */
const SILENCE_MS = 60_000;
const CLOSE_MS = 2_000;

export interface Conversation {
  readonly server: string;
  tools(): Promise<readonly Tool[]>;
  /** `tool` is its definition from `tools()`, which tells the SDK which arguments travel as headers. */
  call(tool: Tool, args: Record<string, unknown>): Promise<CallToolResult>;
}

/**
 * Opens, works, and closes in every case. We declare no capabilities: a tool that wants to ask its user something is told
 * so by its server's own rules.
 * @throws CommandError saying what failed and, where we know it, the fix.
 */
export async function withConversation<T>(url: URL, era: Era, work: (conversation: Conversation) => Promise<T>): Promise<T> {
  const mode = era === 'modern' ? { pin: MODERN_VERSION } : era;
  const client = new Client({ name: 'parley-cli', version: VERSION }, { capabilities: {}, versionNegotiation: { mode } });
  const transport = new StreamableHTTPClientTransport(url);
  try {
    await client.connect(transport, { timeout: CONNECT_MS });
    return await work(conversation(client));
  } catch (error) {
    throw clientProblem(error, url);
  } finally {
    await close(client, transport);
  }
}

function conversation(client: Client): Conversation {
  const { name = 'a server without a name', version = '' } = client.getServerVersion() ?? {};
  return {
    server: `${name} ${version} (${client.getProtocolEra()} era, ${client.getNegotiatedProtocolVersion()})`,
    tools: async () => (client.getServerCapabilities()?.tools === undefined ? [] : (await client.listTools()).tools),
    call: (tool, args) =>
      client.callTool(
        { name: tool.name, arguments: args },
        {
          toolDefinition: tool,
          timeout: SILENCE_MS,
          resetTimeoutOnProgress: true,
          onprogress: ({ progress, total, message }) => say(`progress ${progress}${total === undefined ? '' : `/${total}`}${message ? ` ${message}` : ''}`),
        },
      ),
  };
}

/** A legacy session is ended on the server too, so that it does not wait for its idle limit. Failing at this is no failure of the command. */
async function close(client: Client, transport: StreamableHTTPClientTransport): Promise<void> {
  const ended = transport.terminateSession().catch(() => {});
  const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref());
  await Promise.race([ended, late]);
  await client.close().catch(() => {});
}
