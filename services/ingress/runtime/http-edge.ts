/** The edge on node:http. */
import { type IncomingMessage, type Server, createServer } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { clock } from '#host/clock.ts';
import type { BodyPrefix, Source } from '#policies/policy.ts';
import { NOTHING_WRITTEN, type RequestEdit } from '#policies/request-edits.ts';
import type { PathMatch } from '#protocol/config/generation.ts';
import type { Admission } from '../core/admission.ts';
import type { Unreadable } from '../events.ts';
import type { EdgeHandler, EdgeRequest } from './edge.ts';
import { EditedRequest } from './edited-request.ts';
import { type Answering, NodeResponse } from './http-response.ts';
import { HeldBody, readBody } from './request-body.ts';
import { takeLogins, withEveryCredential } from './request-headers.ts';
import { destinationOf, sourceOf } from './source.ts';
import { refuseUnreadable } from './unreadable.ts';

/** A request's headers must be in by then; bodies have the same time. */
const REQUEST_MS = 60_000;
const HEADERS_MS = 15_000;
const IDLE_MS = 75_000;
const HEADERS_MAX = 200;
const IDLE_CHECK_MS = 25;
/** A connection that was just made has its first request on the way. */
const FIRST_REQUEST_MS = 2_000;
/** What is left of an ended response must move within this time. */
const STALLED_MS = 60_000;

interface ServerState extends Answering {
  /** Connections that have not asked anything yet, which node counts as busy. */
  readonly silent: Set<Socket>;
  leaving: boolean;
}

const states = new WeakMap<Server, ServerState>();

/** Takes a connection whose handshake is done: HTTP begins. One function for each server. */
export type Speak = (secured: Socket, raw: Socket, admission: Admission) => void;
/** Does the handshake of a connection; one that fails is destroyed. */
export type Secure = (raw: Socket, speak: Speak) => void;

const admissions = new WeakMap<Socket, Admission>();

export interface HttpServerOptions {
  readonly stalledMs?: number;
  /** Undefined = plain HTTP. */
  readonly secure?: Secure | undefined;
  /** Whether this process reaches nobody behind it now. */
  readonly cutOff?: () => boolean;
  /** Told of what came and was no request. */
  readonly unreadable?: (why: Unreadable) => void;
}

export function createHttpServer(handle: EdgeHandler, { stalledMs = STALLED_MS, secure, cutOff = () => false, unreadable }: HttpServerOptions = {}): Server {
  const state: ServerState = { stalledMs, silent: new Set(), leaving: false, cutOff };
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: HEADERS_MS, keepAliveTimeout: IDLE_MS }, (request, response) => {
    state.silent.delete(request.socket);
    handle(new NodeRequest(request), new NodeResponse(response, state));
  });
  server.maxHeadersCount = HEADERS_MAX;
  states.set(server, state);
  server.on('connection', (socket: Socket) => {
    state.silent.add(socket);
    socket.once('close', () => state.silent.delete(socket));
  });
  if (secure !== undefined) putBehind(secure, server, state);
  if (unreadable !== undefined) refuseUnreadable(server, unreadable);
  return server;
}

/** The server listens and counts its connections as ever; what it does with a new one waits until the handshake is done. */
function putBehind(secure: Secure, server: Server, { silent }: ServerState): void {
  const listeners = server.listeners('connection');
  server.removeAllListeners('connection');
  const speak: Speak = (secured, raw, admission) => {
    silent.delete(raw);
    admissions.set(secured, admission);
    for (const listener of listeners) listener.call(server, secured);
  };
  server.on('connection', (raw: Socket) => {
    // Not admitted, before this.
    if (raw.destroyed) return;
    silent.add(raw);
    raw.once('close', () => silent.delete(raw));
    secure(raw, speak);
  });
}

/** It serves on, and says `connection: close` with each answer: a balancer in front finds another server for the next one. */
export function beginLeaving(server: Server): void {
  const state = states.get(server);
  if (state !== undefined) state.leaving = true;
}

/**
 * Resolves when the last connection is gone: an idle one after `idleMs`, since its client may be about to use it once more,
 * one that is being answered after its answer, one that has asked nothing yet after FIRST_REQUEST_MS; what is still open
 * after `withinMs` is cut.
 */
export function stopHttpServer(server: Server, withinMs: number, idleMs = 0): Promise<void> {
  beginLeaving(server);
  return new Promise((resolve) => {
    const limit = setTimeout(() => server.closeAllConnections(), withinMs);
    const idleUntil = clock() + idleMs;
    const closeIdle = (): void => {
      if (clock() >= idleUntil) server.closeIdleConnections();
    };
    const idle = setInterval(closeIdle, IDLE_CHECK_MS);
    const silent = setTimeout(() => {
      for (const socket of states.get(server)?.silent ?? []) socket.destroy();
    }, Math.min(FIRST_REQUEST_MS, withinMs));
    // What node:http adds to this closes idle connections at once, under whatever is on its way to them.
    NetServer.prototype.close.call(server, () => {
      clearTimeout(limit);
      clearTimeout(silent);
      clearInterval(idle);
      // All of that is over: what is left is the interval in which it looks at its connections, and keeps itself.
      server.close();
      resolve();
    });
    closeIdle();
  });
}

class NodeRequest implements EdgeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly startedAtMs = Date.now();
  readonly written = NOTHING_WRITTEN;
  loginCookies: string | undefined;
  matched: PathMatch | undefined;
  readonly #request: IncomingMessage;
  #headers: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
  /** Once somebody looked into the body. */
  #held: HeldBody | undefined;

  constructor(request: IncomingMessage) {
    this.#request = request;
    this.method = request.method ?? 'GET';
    const url = request.url ?? '/';
    const at = url.indexOf('?');
    this.path = at < 0 ? url : url.slice(0, at);
    this.query = at < 0 ? '' : url.slice(at + 1);
  }

  get host(): string {
    return this.#request.headers.host ?? '';
  }

  get scheme(): 'http' | 'https' {
    return this.#request.socket instanceof TLSSocket ? 'https' : 'http';
  }

  get source(): Source {
    return sourceOf(this.#request.socket);
  }

  get destination(): Pick<Source, 'address' | 'port'> {
    return destinationOf(this.#request.socket);
  }

  get admission(): Admission {
    return admissions.get(this.#request.socket);
  }

  get version(): string {
    return `HTTP/${this.#request.httpVersion}`;
  }

  get headers(): Readonly<Record<string, string | readonly string[] | undefined>> {
    return (this.#headers ??= withEveryCredential(this.#request));
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  takeLogins(): void {
    this.loginCookies = takeLogins(this.#request);
  }

  body(max: number): Promise<Uint8Array> {
    return this.#held === undefined ? readBody(this.#request, max) : this.#held.whole(max);
  }

  prefix(max: number): Promise<BodyPrefix> {
    return (this.#held ??= new HeldBody(this.#request)).prefix(max);
  }

  get lookedInto(): boolean {
    return this.#held !== undefined;
  }

  get came(): EdgeRequest {
    return this;
  }

  with(edits: readonly RequestEdit[]): EdgeRequest {
    return new EditedRequest(this, this, edits);
  }
}
