/**
 * Requests of servers to clients (sampling, elicitation, roots), of all sessions of this process: ours by id while they
 * wait, answered once, by the session they went to. The id names this process, so that an answer finds it even when the
 * session has been opened elsewhere meanwhile.
 */
import { CODE, type Id, type Request, type Response, encode } from '#protocol/mcp/message.ts';
import { clock } from '#host/clock.ts';
import type { SessionUpstream } from '../targets/upstream.ts';

/** Open requests of all servers to one client; a client that never answers stops getting more. */
export const SERVER_REQUESTS_MAX = 64;
const TICK_MS = 250;

/** The capability a client must have declared to be asked (MCP 2025-11-25, "Client features"). */
const NEEDS: Readonly<Record<string, string>> = {
  'sampling/createMessage': 'sampling',
  'elicitation/create': 'elicitation',
  'roots/list': 'roots',
};

/** Whose client is asked, and by whom. */
export interface Asker {
  readonly session: string;
  /** The client's own. */
  readonly capabilities: Readonly<Record<string, unknown>>;
  readonly upstream: SessionUpstream;
}

interface Waiting {
  readonly session: string;
  readonly upstream: SessionUpstream;
  readonly id: Id;
  readonly token: string | undefined;
  readonly until: number;
}

/** Either something for the client, or our own answer to the server. */
export interface Taken {
  readonly forward?: Uint8Array;
  readonly answer?: Uint8Array;
}

export class ServerRequests {
  readonly #instance: string;
  readonly #answerMs: number;
  readonly #waiting = new Map<string, Waiting>();
  /** Our ids, by session. */
  readonly #sessions = new Map<string, Set<string>>();
  #next = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `answerMs`: how long a client may take. */
  constructor(instance: string, answerMs: number) {
    this.#instance = instance;
    this.#answerMs = answerMs;
  }

  take({ session, capabilities, upstream }: Asker, request: Request): Taken {
    if (request.method === 'ping') return { answer: encode({ jsonrpc: '2.0', id: request.id, result: {} }) };
    const needed = NEEDS[request.method];
    if (needed !== undefined && !(needed in capabilities)) return { answer: refusal(request.id, CODE.methodNotFound, `the client does not offer ${needed}`) };
    const ids = this.#sessions.get(session) ?? new Set();
    if (ids.size >= SERVER_REQUESTS_MAX) return { answer: refusal(request.id, CODE.internal, `${SERVER_REQUESTS_MAX} requests wait for the client already`) };
    const id = `${this.#instance}-${this.#next++}`;
    const token = request.params?._meta?.['progressToken'];
    this.#waiting.set(id, { session, upstream, id: request.id, token: token === undefined ? undefined : JSON.stringify(token), until: clock() + this.#answerMs });
    this.#sessions.set(session, ids.add(id));
    this.#timer ??= setInterval(() => this.#expire(), TICK_MS);
    return { forward: encode({ ...request, id }) };
  }

  /** The response for the server, under the server's own id; undefined when nobody waits for it (any more). */
  settle(session: string, response: Response): { readonly upstream: SessionUpstream; readonly payload: Uint8Array } | undefined {
    const waiting = typeof response.id === 'string' ? this.#waiting.get(response.id) : undefined;
    if (waiting === undefined || waiting.session !== session) return undefined;
    this.#forget(response.id as string, session);
    return { upstream: waiting.upstream, payload: encode({ ...response, id: waiting.id }) };
  }

  /** Which process asked; undefined when the id is none of such a kind. */
  static askedBy(id: Response['id']): string | undefined {
    return typeof id === 'string' ? ASKED_BY.exec(id)?.[1] : undefined;
  }

  /** Whose request a progress notification of the client is about. */
  byToken(session: string, token: unknown): SessionUpstream | undefined {
    const wanted = JSON.stringify(token);
    for (const id of this.#sessions.get(session) ?? []) if (this.#waiting.get(id)?.token === wanted) return this.#waiting.get(id)?.upstream;
    return undefined;
  }

  /** The server that asked is gone, or knows nothing of it any more. */
  forget(session: string, upstream: SessionUpstream): void {
    for (const id of this.#sessions.get(session) ?? []) if (this.#waiting.get(id)?.upstream === upstream) this.#forget(id, session);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #expire(): void {
    const now = clock();
    for (const [id, { until, upstream, session, id: theirs }] of this.#waiting) {
      // They are in the order they came, and may wait equally long.
      if (until > now) break;
      this.#forget(id, session);
      const said = `the client did not answer within ${this.#answerMs / 1000} s`;
      upstream.tell(refusal(theirs, CODE.legacyServer, said)).catch(() => undefined);
    }
    if (this.#waiting.size === 0) this.stop();
  }

  #forget(id: string, session: string): void {
    this.#waiting.delete(id);
    const ids = this.#sessions.get(session);
    ids?.delete(id);
    if (ids?.size === 0) this.#sessions.delete(session);
  }
}

const ASKED_BY = /^([A-Za-z0-9_-]{1,64})-\d+$/;

const refusal = (id: Id, code: number, message: string): Uint8Array => encode({ jsonrpc: '2.0', id, error: { code, message } });
