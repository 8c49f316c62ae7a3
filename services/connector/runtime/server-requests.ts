/** Requests of servers to the client (sampling, elicitation, roots): ours by id while they wait, answered once, by the session they went to. */
import { CODE, type Id, type Request, type Response, encode, idKey } from '#protocol/mcp/message.ts';
import type { SessionUpstream } from './upstream.ts';

/** Open requests of all servers to one client; a client that never answers stops getting more. */
export const SERVER_REQUESTS_MAX = 64;
/** How long a person may take; after that a waiting request gives way to new ones. */
const ANSWER_MS = 10 * 60_000;

/** The capability a client must have declared to be asked (MCP 2025-11-25, "Client features"). */
const NEEDS: Readonly<Record<string, string>> = {
  'sampling/createMessage': 'sampling',
  'elicitation/create': 'elicitation',
  'roots/list': 'roots',
};

interface Waiting {
  readonly upstream: SessionUpstream;
  readonly id: Id;
  readonly token: string | undefined;
  readonly at: number;
}

/** Either something for the client, or our own answer to the server. */
export interface Taken {
  readonly forward?: Uint8Array;
  readonly answer?: Uint8Array;
}

export class ServerRequests {
  readonly #waiting = new Map<string, Waiting>();
  readonly #capabilities: Readonly<Record<string, unknown>>;
  #next = 0;

  constructor(clientCapabilities: Readonly<Record<string, unknown>>) {
    this.#capabilities = clientCapabilities;
  }

  take(upstream: SessionUpstream, request: Request): Taken {
    if (request.method === 'ping') return { answer: encode({ jsonrpc: '2.0', id: request.id, result: {} }) };
    const needed = NEEDS[request.method];
    if (needed !== undefined && !(needed in this.#capabilities)) return refuse(request, CODE.methodNotFound, `the client does not offer ${needed}`);
    this.#forgetStale();
    if (this.#waiting.size >= SERVER_REQUESTS_MAX) return refuse(request, CODE.internal, `${SERVER_REQUESTS_MAX} requests wait for the client already`);
    const id = `${upstream.target}-${this.#next++}`;
    const token = request.params?._meta?.['progressToken'];
    this.#waiting.set(idKey(id), { upstream, id: request.id, token: token === undefined ? undefined : JSON.stringify(token), at: Date.now() });
    return { forward: encode({ ...request, id }) };
  }

  /** The response for the server, under the server's own id; undefined when nobody waits for it (any more). */
  settle(response: Response): { readonly upstream: SessionUpstream; readonly payload: Uint8Array } | undefined {
    if (response.id === undefined || response.id === null) return undefined;
    const key = idKey(response.id);
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(key);
    return { upstream: waiting.upstream, payload: encode({ ...response, id: waiting.id }) };
  }

  #forgetStale(): void {
    if (this.#waiting.size < SERVER_REQUESTS_MAX) return;
    const since = Date.now() - ANSWER_MS;
    for (const [key, waiting] of this.#waiting) if (waiting.at < since) this.#waiting.delete(key);
  }

  /** Whose request a progress notification of the client is about. */
  byToken(token: unknown): SessionUpstream | undefined {
    const wanted = JSON.stringify(token);
    for (const waiting of this.#waiting.values()) if (waiting.token === wanted) return waiting.upstream;
    return undefined;
  }
}

const refuse = ({ id }: Request, code: number, message: string): Taken => ({ answer: encode({ jsonrpc: '2.0', id, error: { code, message } }) });
