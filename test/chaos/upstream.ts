/**
 * The MCP server behind the gateway: a process of its own, built on the official SDK, legacy sessions over Streamable HTTP.
 * It writes down every execution of a tool, and says so to whoever asks at /effects, which no gateway stands in front of.
 * It is never harmed itself.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { toNodeHandler } from '@modelcontextprotocol/node';
import type { NodeIncomingMessageLike } from '@modelcontextprotocol/node';
import { McpServer, WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server';
import type { CallToolResult, ElicitRequestFormParams, ServerContext } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { markText, TOOLS, type Effect, type Mark, type ToolName } from './tools.ts';

const SESSIONS_MAX = 200_000;
const EFFECTS_PAGE_MAX = 50_000;
/** Longer than the idle time of any client pool, so that a reused connection is not closed under a request. */
const KEEP_ALIVE_MS = 65_000;
const TOOL_MS_MAX = 60_000;
const STEPS_MAX = 1_000;
const ELICITATION_MS = 120_000;

const MARKED = z.object({ marker: z.string(), key: z.string(), ms: z.number().int().min(0).max(TOOL_MS_MAX).default(0) });
const STREAMING = MARKED.extend({ steps: z.number().int().min(1).max(STEPS_MAX) });
const FORM: ElicitRequestFormParams['requestedSchema'] = { type: 'object', properties: { marker: { type: 'string' }, key: { type: 'string' } }, required: ['marker', 'key'] };

const effects: Effect[] = [];
const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();

const answer = ({ marker, key }: Mark): CallToolResult => ({ content: [{ type: 'text', text: markText({ marker, key }) }] });

function buildServer(session: () => string): McpServer {
  const server = new McpServer({ name: 'chaos-upstream', version: '1.0.0' }, { capabilities: { logging: {} } });
  const ran = (tool: ToolName, { marker, key }: Mark) => effects.push({ tool, marker, key, upstreamSession: session() });
  const register = (tool: ToolName, work: (args: z.infer<typeof MARKED>) => Promise<unknown>) =>
    server.registerTool(tool, { description: tool, inputSchema: MARKED, annotations: TOOLS[tool].hints }, async (args) => {
      // The effect is there before the answer: whoever dies in between leaves one that nobody was told of.
      ran(tool, args);
      await work(args);
      return answer(args);
    });
  for (const tool of ['fast', 'add', 'slow', 'read'] as const) register(tool, ({ ms }) => (ms === 0 ? Promise.resolve() : wait(ms)));
  register('announce', (args) => server.server.sendLoggingMessage({ level: 'error', data: markText(args) }));
  server.registerTool('streaming', { description: 'streaming', inputSchema: STREAMING, annotations: TOOLS.streaming.hints }, async (args, ctx) => {
    ran('streaming', args);
    await stream(args, ctx);
    return answer(args);
  });
  server.registerTool('eliciting', { description: 'eliciting', inputSchema: MARKED, annotations: TOOLS.eliciting.hints }, async (args, ctx) => {
    ran('eliciting', args);
    // Without that id the SDK would ask on the session's own stream, and drop the question when nobody reads it at the moment.
    const options = { timeout: ELICITATION_MS, relatedRequestId: ctx.mcpReq.id };
    const { action, content } = await ctx.mcpReq.elicitInput({ message: markText(args), requestedSchema: FORM }, options);
    // The client's words, not ours: the answer of another session's client would show.
    return action === 'accept' ? answer({ marker: String(content?.['marker']), key: String(content?.['key']) }) : { ...answer(args), isError: true };
  });
  return server;
}

async function stream({ marker, key, ms, steps }: z.infer<typeof STREAMING>, ctx: ServerContext): Promise<void> {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  for (let progress = 1; progress <= steps; progress += 1) {
    await wait(ms / steps);
    if (progressToken === undefined) continue;
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: steps, message: markText({ marker, key }) } });
  }
}

async function mcp(request: Request): Promise<Response> {
  const id = request.headers.get('mcp-session-id');
  if (id !== null) return sessions.get(id)?.handleRequest(request) ?? refuse(404, -32_001, 'Session not found');
  if (sessions.size >= SESSIONS_MAX) return refuse(503, -32_000, `more than ${SESSIONS_MAX} sessions`);
  const transport: WebStandardStreamableHTTPServerTransport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (session) => void sessions.set(session, transport),
    onsessionclosed: (session) => void sessions.delete(session),
  });
  const server = buildServer(() => transport.sessionId ?? 'none');
  await server.connect(transport);
  return transport.handleRequest(request);
}

function effectsSince(url: URL): Response {
  const after = Number(url.searchParams.get('after') ?? 0);
  return Response.json(effects.slice(after, after + EFFECTS_PAGE_MAX));
}

const refuse = (status: number, code: number, message: string) => Response.json({ jsonrpc: '2.0', id: null, error: { code, message } }, { status });

async function main(): Promise<void> {
  const handle = toNodeHandler({
    async fetch(request) {
      const url = new URL(request.url);
      if (url.pathname === '/effects') return effectsSince(url);
      return url.pathname === '/mcp' ? mcp(request) : new Response(null, { status: 404 });
    },
  });
  // The adapter's type leaves out that Node's method and url may be undefined, as they are on responses.
  const server = createServer((request, response) => void handle(request as NodeIncomingMessageLike, response));
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send?.({ port: (server.address() as AddressInfo).port });
  // It lives as long as the run does, however that ends.
  process.once('disconnect', () => process.exit(0));
}

if (import.meta.main) await main();
