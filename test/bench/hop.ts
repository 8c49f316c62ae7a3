/**
 * The least a gateway in Node can be: read the request, parse it once, ask the upstream over a pool, relay the answer. No
 * sessions, no policies, no checks. What Parley costs beyond this is what Parley does. `node hop.ts <port> <upstream>`
 */
import { createServer } from 'node:http';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Pool } from 'undici';

const [port = '', upstream = ''] = process.argv.slice(2);
const { origin, pathname } = new URL(upstream);
const pool = new Pool(origin, { connections: 64 });

const ASKED = ['accept', 'content-type', 'mcp-session-id', 'mcp-protocol-version', 'mcp-method', 'mcp-name'] as const;
const ANSWERED = ['content-type', 'mcp-session-id'] as const;

function pick(names: readonly string[], from: NodeJS.Dict<string | string[]>): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = from[name];
    if (typeof value === 'string') picked[name] = value;
  }
  return picked;
}

function isMessage(body: Buffer): boolean {
  try {
    return (JSON.parse(body.toString()) as { jsonrpc?: unknown }).jsonrpc === '2.0';
  } catch {
    return false;
  }
}

async function relay(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
  if (request.method === 'POST' && !isMessage(body)) {
    response.writeHead(400).end();
    return;
  }
  const method = request.method === 'DELETE' ? 'DELETE' : 'POST';
  const answer = await pool.request({ path: pathname, method, headers: pick(ASKED, request.headers), body: method === 'POST' ? body : null });
  const bytes = Buffer.from(await answer.body.arrayBuffer());
  const headers: OutgoingHttpHeaders = { ...pick(ANSWERED, answer.headers), 'content-length': bytes.length };
  response.writeHead(answer.statusCode, headers).end(bytes);
}

createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    relay(request, response, Buffer.concat(chunks)).catch((error: unknown) => {
      response.writeHead(502).end(String(error));
    });
  });
}).listen(Number(port), '127.0.0.1');
