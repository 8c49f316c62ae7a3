/** The edge on node:http. */
import { type IncomingMessage, type Server, createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { BodyPrefix, Source } from '#policies/policy.ts';
import { NOTHING_WRITTEN, type RequestEdit } from '#policies/request-edits.ts';
import type { PathMatch } from '#protocol/config/generation.ts';
import type { Admission } from '../core/admission.ts';
import type { Unreadable } from '../events.ts';
import type { EdgeHandler, EdgeRequest } from './edge.ts';
import { EditedRequest } from './edited-request.ts';
import { NodeResponse } from './http-response.ts';
import { HeldBody, bodyBytes, readBody } from './request-body.ts';
import { type Connect, refuseConnect } from './refused-connect.ts';
import { takeLogins, withEveryCredential } from './request-headers.ts';
import { takeTarget } from './request-target.ts';
import { type ServerState, beginLife } from './server-life.ts';
import { cameAs, destinationOf, sourceOf } from './source.ts';
import { refuseUnreadable } from './unreadable.ts';

/** A request's headers must be in by then; bodies have the same time. */
const REQUEST_MS = 60_000;
const HEADERS_MS = 15_000;
const IDLE_MS = 75_000;
const HEADERS_MAX = 200;
/** What is left of an ended response must move within this time. */
const STALLED_MS = 60_000;

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
  /** Takes CONNECT; absent = it is refused. */
  readonly connect?: Connect | undefined;
}

export function createHttpServer(handle: EdgeHandler, { stalledMs = STALLED_MS, secure, cutOff = () => false, unreadable, connect = refuseConnect }: HttpServerOptions = {}): Server {
  const scheme = secure === undefined ? 'http' : 'https';
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: HEADERS_MS, keepAliveTimeout: IDLE_MS }, (request, response) => {
    state.silent.delete(request.socket);
    handle(new NodeRequest(request, scheme), new NodeResponse(response, state));
  });
  server.maxHeadersCount = HEADERS_MAX;
  const state = beginLife(server, { stalledMs, cutOff });
  server.on('connection', (socket: Socket) => {
    state.silent.add(socket);
    socket.once('close', () => state.silent.delete(socket));
  });
  if (secure !== undefined) putBehind(secure, server, state);
  if (unreadable !== undefined) refuseUnreadable(server, unreadable);
  server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) => connect(server, { request, socket, head }));
  return server;
}

/** The server listens and counts its connections as ever; what it does with a new one waits until the handshake is done. */
function putBehind(secure: Secure, server: Server, { silent }: ServerState): void {
  const listeners = server.listeners('connection');
  server.removeAllListeners('connection');
  const speak: Speak = (secured, raw, admission) => {
    silent.delete(raw);
    admissions.set(secured, admission);
    cameAs(secured, raw);
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

class NodeRequest implements EdgeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly scheme: 'http' | 'https';
  readonly startedAtMs = Date.now();
  readonly written = NOTHING_WRITTEN;
  loginCookies: string | undefined;
  matched: PathMatch | undefined;
  readonly #request: IncomingMessage;
  #headers: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
  /** Once somebody looked into the body. */
  #held: HeldBody | undefined;

  constructor(request: IncomingMessage, scheme: 'http' | 'https') {
    this.#request = request;
    this.scheme = scheme;
    this.method = request.method ?? 'GET';
    const url = takeTarget(request, scheme);
    const at = url.indexOf('?');
    this.path = at < 0 ? url : url.slice(0, at);
    this.query = at < 0 ? '' : url.slice(at + 1);
  }

  get host(): string {
    return this.#request.headers.host ?? '';
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

  get bodyBytes(): number | undefined {
    return bodyBytes(this.#request);
  }

  chunks(): AsyncIterable<Uint8Array> {
    return (this.#held ??= new HeldBody(this.#request)).chunks();
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
