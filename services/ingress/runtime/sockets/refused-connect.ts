/** CONNECT where no tunnels are served, and the answers to one: written by hand, since node hands over the bare connection. */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';

/** A CONNECT and what came with it. */
export interface ConnectRequest {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** What its client sent on without waiting for an answer. */
  readonly head: Buffer;
}

export type Connect = (server: Server, connect: ConnectRequest) => void;

export interface ConnectRefusal {
  /** With its reason phrase. */
  readonly status: string;
  readonly message: string;
  readonly headers?: string;
}

/** Until a connection that was told so is cut. */
const TOLD_MS = 500;
/** What a port without tunnels serves instead (RFC 9110 §15.5.6). */
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';

export function answerRefusal({ socket }: ConnectRequest, { status, message, headers = '' }: ConnectRefusal): void {
  socket.on('error', () => undefined); // 'close' follows
  socket.end(`HTTP/1.1 ${status}\r\n${headers}Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(message)}\r\nConnection: close\r\n\r\n${message}`);
  const cut = setTimeout(() => socket.destroy(), TOLD_MS);
  socket.once('close', () => clearTimeout(cut));
}

export const refuseConnect: Connect = (_server, connect) =>
  answerRefusal(connect, { status: '405 Method Not Allowed', headers: `Allow: ${METHODS}\r\n`, message: 'this port opens no tunnels: CONNECT is for binds with tunnelProtocol: connect' });
