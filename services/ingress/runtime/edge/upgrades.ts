/**
 * Requests that ask to change the protocol of their connection (RFC 9110 §7.8), to WebSocket for one. node hands over the bare
 * connection with them; they are answered as any other, and a 101 leaves the connection to both sides.
 */
import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { upgradeOf } from '#protocol/http/fields.ts';
import { bodyBytes } from './request-body.ts';
import { hold } from '../sockets/server-life.ts';

/** The connection is to go on as HTTP: what is asked for there can be had without. */
const OF_HTTP = /^(?:h2c?|HTTP\/|TLS\/)/i;
/** Neither side has said a byte for as long. */
const IDLE_MS = 15 * 60_000;

/** A server may pass over what it is asked for; with a body in front of it, it is passed over. */
export function mayUpgrade(request: IncomingMessage): boolean {
  const protocol = upgradeOf(request.headers);
  return protocol !== undefined && !OF_HTTP.test(protocol) && request.method === 'GET' && bodyBytes(request) === 0;
}

export interface Upgrading {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
}

/** @param head what its client sent on without waiting for an answer. */
export function beginUpgrade(server: Server, request: IncomingMessage, { socket, head }: { readonly socket: Socket; readonly head: Buffer }): Upgrading | undefined {
  socket.on('error', () => undefined); // 'close' follows
  if (!hold(server, socket)) return void socket.destroy();
  if (head.length > 0) socket.unshift(head);
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => socket.end());
  return { request, response, socket };
}
