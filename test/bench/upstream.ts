/** The echo server over Streamable HTTP, raw node:http, JSON answers. `node upstream.ts <port>` */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answer, isModern } from './echo.ts';
import type { Asked } from './echo.ts';

const SESSIONS_MAX = 100_000;
const sessions = new Set<string>();

function sendJson(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers });
  response.end(bytes);
}

function receive(request: IncomingMessage, response: ServerResponse, text: string): void {
  const asked = JSON.parse(text) as Asked;
  const reply = answer(asked);
  if (isModern(asked)) {
    if (reply === undefined) response.writeHead(202).end();
    else sendJson(response, 'error' in reply ? 404 : 200, reply);
    return;
  }
  if (asked.method === 'initialize' && reply !== undefined && sessions.size < SESSIONS_MAX) {
    const id = randomUUID();
    sessions.add(id);
    sendJson(response, 200, reply, { 'mcp-session-id': id });
    return;
  }
  if (!sessions.has(String(request.headers['mcp-session-id']))) {
    sendJson(response, 404, { jsonrpc: '2.0', id: asked.id ?? null, error: { code: -32001, message: 'Session not found' } });
  } else if (reply === undefined) response.writeHead(202).end();
  else sendJson(response, 200, reply);
}

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  if (request.method === 'DELETE') {
    response.writeHead(sessions.delete(String(request.headers['mcp-session-id'])) ? 200 : 404).end();
    return;
  }
  if (request.method !== 'POST') {
    response.writeHead(405, { allow: 'POST, DELETE' }).end();
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    try {
      receive(request, response, Buffer.concat(chunks).toString());
    } catch {
      sendJson(response, 400, { jsonrpc: '2.0', id: null, error: { code: -32700, message: 'Parse error' } });
    }
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
