/** The edge on node:http. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { BodyPrefix, Source } from '#policies/policy.ts';
import { NOTHING_WRITTEN, type RequestEdit } from '#policies/request-edits.ts';
import { upgradeOf } from '#protocol/http/fields.ts';
import type { PathMatch } from '#protocol/config/generation.ts';
import type { Admission } from '../../core/admission.ts';
import type { Unreadable } from '../../events.ts';
import type { EdgeHandler, EdgeRequest } from './edge.ts';
import { EditedRequest } from './edited-request.ts';
import { NodeResponse } from './http-response.ts';
import { HeldBody, bodyBytes, readBody } from './request-body.ts';
import { type Connect, refuseConnect } from '../sockets/refused-connect.ts';
import { takeLogins, withEveryCredential } from './request-headers.ts';
import { takeTarget } from './request-target.ts';
import { type ServerState, beginLife } from '../sockets/server-life.ts';
import { SlowBodies } from './slow-bodies.ts';
import { cameAs, destinationOf, sourceOf } from '../sockets/source.ts';
import { refuseUnreadable } from '../sockets/unreadable.ts';
import { beginUpgrade, mayUpgrade } from './upgrades.ts';

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
  const coming = { scheme: secure === undefined ? 'http' : 'https', slow: new SlowBodies() } as const;
  // Bodies are waited for by whoever reads them (request-body.ts).
  const server = createServer({ requestTimeout: 0, headersTimeout: HEADERS_MS, keepAliveTimeout: IDLE_MS, shouldUpgradeCallback: mayUpgrade }, (request, response) => {
    state.silent.delete(request.socket);
    handle(new NodeRequest(request, coming), new NodeResponse(response, state));
  });
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    state.silent.delete(request.socket);
    handle(new NodeRequest(request, { ...coming, begin: () => response.writeContinue() }), new NodeResponse(response, state));
  });
  server.maxHeadersCount = HEADERS_MAX;
  const state = beginLife(server, { stalledMs, cutOff });
  server.on('connection', (socket: Socket) => {
    state.silent.add(socket);
    socket.once('close', () => state.silent.delete(socket));
  });
  if (secure !== undefined) putBehind(secure, server, state);
  if (unreadable !== undefined) refuseUnreadable(server, unreadable);
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const begun = beginUpgrade(server, request, { socket, head });
    if (begun !== undefined) handle(new NodeRequest(request, { ...coming, connection: socket }), new NodeResponse(begun.response, state));
  });
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

/** How a request comes. */
interface Coming {
  readonly scheme: 'http' | 'https';
  readonly slow: SlowBodies;
  /** Has its client send the body, which it held back until that is wanted (RFC 9110 §10.1.1). */
  readonly begin?: () => void;
  /** Bare, where its protocol may change. */
  readonly connection?: Socket;
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
  readonly #coming: Coming;
  #headers: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
  /** Once somebody looked into the body. */
  #held: HeldBody | undefined;

  constructor(request: IncomingMessage, coming: Coming) {
    this.#request = request;
    this.#coming = coming;
    this.scheme = coming.scheme;
    this.method = request.method ?? 'GET';
    const url = takeTarget(request, coming.scheme);
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

  get upgrade(): string | undefined {
    return this.#coming.connection === undefined ? undefined : upgradeOf(this.#request.headers);
  }

  get bodyBytes(): number | undefined {
    return bodyBytes(this.#request);
  }

  chunks(): AsyncIterable<Uint8Array> {
    const { connection } = this.#coming;
    return (connection === undefined ? this.#hold() : (this.#held ??= new HeldBody(connection, undefined))).chunks();
  }

  body(max: number): Promise<Uint8Array> {
    if (this.#held !== undefined) return this.#held.whole(max);
    this.#coming.begin?.();
    return readBody(this.#request, max, this.#coming.slow);
  }

  prefix(max: number): Promise<BodyPrefix> {
    return this.#hold().prefix(max);
  }

  #hold(): HeldBody {
    if (this.#held !== undefined) return this.#held;
    this.#coming.begin?.();
    return (this.#held = new HeldBody(this.#request, this.#coming.slow));
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
