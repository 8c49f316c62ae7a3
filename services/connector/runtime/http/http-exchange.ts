/**
 * One exchange with a server, from its connection to the last byte of its answer.
 *
 * E1 The head goes to the asker at once, unless the rest came with it: then one frame has it all.
 * E2 An asker without credit pauses the connection, and so the server.
 * E3 An asker that is gone has the connection closed: what is not wanted is not read.
 * E4 A request of which nothing was sent may go to another server: the exchange is the same.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { endToEnd, upgradeOf } from '#protocol/http/fields.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';
import { CHUNK_BYTES_MAX, type HttpResponseHead } from '#protocol/subjects/http.ts';
import { type Answer, NOTHING } from '#host/bus/bus.ts';
import { sendChunks } from '#host/bus/chunks.ts';

/** Neither side has said a byte for as long: nobody is there any more. */
export const IDLE_MS = 15 * 60_000;

export interface ExchangeOptions {
  readonly answer: Answer;
  readonly backend: string;
  /** Until the head is here; undefined = no limit of its own. */
  readonly timeoutMs: number | undefined;
  /** What the client asked to change to, and what it says then. */
  readonly upgrade?: { readonly protocol: string; readonly said: Readable } | undefined;
  /** Told of an answer's status and date, for credentials that may be wrong by the server's clock. */
  readonly answered?: ((status: number, date: string | undefined) => void) | undefined;
  /** Told once: the status, or why there is none, or not all of the answer. */
  readonly ended: (outcome: number | Fault) => void;
  /** What became of the asking: the answer begins, or nothing was sent. True = another server is asked. */
  readonly asked?: (outcome: 'answered' | 'unreached') => boolean;
}

type Controller = Dispatcher.DispatchController;

export class HttpExchange implements Dispatcher.DispatchHandler {
  readonly #options: ExchangeOptions;
  #controller: Controller | undefined;
  /** Of the answer, before it was told. */
  #head: StreamFacts | undefined;
  /** What came with it. */
  #first: Buffer[] = [];
  #telling: NodeJS.Immediate | undefined;
  #status = 0;
  #limit: NodeJS.Timeout | undefined;
  #stopped: Fault | undefined;
  /** The connection, once its protocol was changed. */
  #tunnel: Duplex | undefined;
  #over = false;

  constructor(options: ExchangeOptions) {
    const { answer, backend, timeoutMs } = options;
    this.#options = options;
    const left = (): void => this.#stop(new Fault('gone', 'nobody waits for the answer any more', { reason: 'cancelled' }));
    answer.onCancel(left);
    // This process ends, and said so to the asker.
    answer.whenClosed(left);
    if (timeoutMs !== undefined) this.#limit = setTimeout(() => this.#stop(new Fault('timeout', `${backend} did not answer within ${timeoutMs} ms`)), timeoutMs);
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#stopped !== undefined) controller.abort(this.#stopped);
  }

  onRequestUpgrade(controller: Controller, status: number, fields: IncomingHttpHeaders, socket: Duplex): void {
    clearTimeout(this.#limit);
    const { answer, backend, upgrade } = this.#options;
    const agreed = upgradeOf(fields);
    socket.on('error', (error) => this.onResponseError(controller, error));
    if (upgrade === undefined || agreed?.toLowerCase() !== upgrade.protocol.toLowerCase()) return void socket.destroy(wrongUpgrade(backend, agreed));
    this.#options.asked?.('answered');
    this.#status = status;
    this.#tunnel = socket;
    (socket as Socket).setTimeout(IDLE_MS, () => socket.destroy(new Fault('timeout', `${backend} and its client have been silent for too long`)));
    answer.head({ response: JSON.stringify({ status, fields: { ...endToEnd(fields), connection: 'upgrade', upgrade: agreed } } satisfies HttpResponseHead) });
    socket.on('data', (chunk: Buffer) => {
      if (sendChunks(answer, chunk)) return;
      socket.pause();
      void answer.drained().then(() => socket.resume());
    });
    socket.once('end', () => {
      this.#end(NOTHING);
      socket.end();
    });
    upgrade.said.pipe(socket);
  }

  onResponseStart(_controller: Controller, status: number, fields: Record<string, string | string[] | undefined>): void {
    // Interim ones are for the connection they came by.
    if (status < 200) return;
    clearTimeout(this.#limit);
    this.#options.asked?.('answered');
    this.#status = status;
    this.#options.answered?.(status, fields['date'] as string | undefined);
    this.#head = { response: JSON.stringify({ status, fields: endToEnd(fields) } satisfies HttpResponseHead) };
    this.#telling = setImmediate(() => this.#tell());
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#head !== undefined) this.#first.push(chunk);
    else this.#send(controller, chunk);
  }

  onResponseEnd(_controller: Controller, trailers: Record<string, string | string[] | undefined>): void {
    const last = Object.keys(trailers).length === 0 ? undefined : { trailers: JSON.stringify(trailers) };
    const body = this.#first.length === 1 ? (this.#first[0] as Buffer) : Buffer.concat(this.#first);
    if (this.#head === undefined || body.length > CHUNK_BYTES_MAX) {
      this.#tell();
      this.#end(NOTHING, last);
    } else {
      clearImmediate(this.#telling);
      this.#end(body, { ...this.#head, ...last });
    }
  }

  onResponseError(_controller: Controller | undefined, error: Error): void {
    const unsent = this.#controller === undefined && this.#stopped === undefined;
    // What it says after its answer has begun is not heard.
    if (this.#options.asked?.(unsent ? 'unreached' : 'answered') === true) return;
    clearTimeout(this.#limit);
    clearImmediate(this.#telling);
    const fault = this.#stopped ?? faultOf(this.#options.backend, error);
    // The rest may be missing, but what came is the client's (H3).
    if (this.#head !== undefined) this.#tell();
    this.#finish(() => this.#options.answer.fail(fault), fault);
  }

  #end(payload: Uint8Array, facts?: StreamFacts): void {
    this.#finish(() => this.#options.answer.end(payload, facts), this.#status);
  }

  #finish(last: () => void, outcome: number | Fault): void {
    if (this.#over) return;
    this.#over = true;
    last();
    this.#options.ended(outcome);
  }

  #stop(why: Fault): void {
    if (this.#stopped !== undefined || this.#over) return;
    this.#stopped = why;
    clearTimeout(this.#limit);
    if (this.#tunnel === undefined) this.#controller?.abort(why);
    else this.#tunnel.destroy(why);
  }

  /** The head, and what came with it. */
  #tell(): void {
    const [head, first, controller] = [this.#head, this.#first, this.#controller];
    if (head === undefined || controller === undefined) return;
    this.#head = undefined;
    this.#first = [];
    this.#options.answer.head(head);
    for (const chunk of first) this.#send(controller, chunk);
  }

  #send(controller: Controller, chunk: Buffer): void {
    const { answer } = this.#options;
    if (sendChunks(answer, chunk) || controller.paused) return;
    controller.pause();
    void answer.drained().then(() => controller.resume());
  }
}

const wrongUpgrade = (backend: string, to: string | undefined): Fault =>
  new Fault('upstream', `${backend} changed to ${to ?? 'another protocol'}, which nobody asked it to`, { target: backend, reason: 'upgrade' });

const TIMEOUTS: ReadonlySet<string | undefined> = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT']);
const CROWDED = 'UND_ERR_MAX_ORIGINS_REACHED';
/** What cannot be said in HTTP, and no other server will take either. */
const UNSAYABLE: ReadonlySet<string | undefined> = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH']);

export function faultOf(backend: string, error: unknown): Fault {
  if (error instanceof Fault) return error;
  const { code, message = 'unknown error' } = error as { code?: string; message?: string };
  const facts = { target: backend, reason: code ?? 'unknown' };
  if (TIMEOUTS.has(code)) return new Fault('timeout', `${backend} did not answer in time`, facts, { cause: error });
  if (code === CROWDED) return new Fault('overloaded', 'too many servers are connected to at once', facts, { cause: error });
  if (UNSAYABLE.has(code)) return new Fault('invalid', `the request cannot be passed on: ${message}`, { ...facts, status: '400' }, { cause: error });
  if (message === 'bad upgrade') return wrongUpgrade(backend, undefined);
  return new Fault('upstream', `${backend} cannot be used: ${code ?? message}`, facts, { cause: error });
}
