/**
 * The MCP server behind every contender: one `echo` tool, both eras, an answer of about 1 KB. As lean as it can be, so
 * that it is not what is measured. Transports are in upstream.ts (HTTP) and upstream-stdio.ts.
 */
export const LEGACY = '2025-11-25';
export const MODERN = '2026-07-28';

const PADDING = 'The quick brown fox jumps over the lazy dog. '.repeat(20);
const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
const SERVER = { name: 'bench-echo', version: '1.0.0' };
const CAPABILITIES = { tools: {} };
const TOOLS = [
  {
    name: 'echo',
    description: 'Says what it was told',
    inputSchema: { type: 'object', properties: { message: { type: 'string' } }, required: ['message'] },
    annotations: { readOnlyHint: true },
  },
];

export interface Asked {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: { readonly name?: string; readonly arguments?: { readonly message?: unknown }; readonly _meta?: Readonly<Record<string, unknown>> };
}

export const isModern = (asked: Asked): boolean => asked.params?._meta?.[VERSION_KEY] !== undefined;

export const echoed = (message: string): string => `Echo: ${message}\n${PADDING}`;

/** The answer to a request, or undefined for what needs none. */
export function answer(asked: Asked): object | undefined {
  if (asked.id === undefined || asked.method === undefined) return undefined;
  const result = isModern(asked) ? modernResult(asked) : legacyResult(asked);
  if (result === undefined) return { jsonrpc: '2.0', id: asked.id, error: { code: -32601, message: `Method not found: ${asked.method}` } };
  return { jsonrpc: '2.0', id: asked.id, result };
}

const called = ({ params }: Asked): object =>
  params?.name === 'echo'
    ? { content: [{ type: 'text', text: echoed(String(params.arguments?.message)) }] }
    : { content: [{ type: 'text', text: `no such tool: ${params?.name}` }], isError: true };

function legacyResult(asked: Asked): object | undefined {
  switch (asked.method) {
    case 'initialize':
      return { protocolVersion: LEGACY, capabilities: CAPABILITIES, serverInfo: SERVER };
    case 'tools/call':
      return called(asked);
    case 'tools/list':
      return { tools: TOOLS };
    case 'ping':
      return {};
    default:
      return undefined;
  }
}

function modernResult(asked: Asked): object | undefined {
  const complete = { resultType: 'complete', _meta: { 'io.modelcontextprotocol/serverInfo': SERVER } };
  const cacheable = { ...complete, ttlMs: 3_600_000, cacheScope: 'public' };
  switch (asked.method) {
    case 'server/discover':
      return { ...cacheable, supportedVersions: [MODERN], capabilities: CAPABILITIES };
    case 'tools/call':
      return { ...complete, ...called(asked) };
    case 'tools/list':
      return { ...cacheable, tools: TOOLS };
    default:
      return undefined;
  }
}
