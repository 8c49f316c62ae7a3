/** What comes to the edge and is no request: answered as node does where nobody listens, not into an answer that is under way, and counted. */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Unreadable } from '../../events.ts';

const UNREADABLE: Readonly<Record<string, readonly [status: string, why: Unreadable]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'headers-too-long'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'timeout'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['413 Payload Too Large', 'malformed'],
};
const MALFORMED = ['400 Bad Request', 'malformed'] as const;

/** Until a connection that was told so is cut: what its client still sends would have it reset, and the answer lost. */
const TOLD_MS = 500;
const refused = new WeakSet<Socket>();

export function refuseUnreadable(server: Server, told: (why: Unreadable) => void): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuse(error, socket, told));
}

/** Of a response that is under way on it. */
type Answering = Socket & { readonly _httpMessage?: ServerResponse | null };

function refuse(error: NodeJS.ErrnoException, socket: Answering, told: (why: Unreadable) => void): void {
  if (refused.has(socket)) return;
  refused.add(socket);
  // The client went away.
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const [status, why] = UNREADABLE[error.code ?? ''] ?? MALFORMED;
  told(why);
  if (socket._httpMessage?.headersSent === true) return void socket.destroy();
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
  const cut = setTimeout(() => socket.destroy(), TOLD_MS);
  socket.once('close', () => clearTimeout(cut));
}
