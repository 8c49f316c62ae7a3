/** Asks those who give credentials out: in time, for answers of a size, and without following them elsewhere. */
import { Agent, request } from 'undici';
import { Fault } from '#protocol/faults/fault.ts';
import type { Connector } from '#host/server-connector.ts';

export const ANSWER_MS = 5_000;
const ANSWER_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 16;

export interface HttpAsked {
  readonly method: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
  /** Of a question that has a time of its own. */
  readonly signal?: AbortSignal;
}

export interface HttpTold {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** For messages: whose credential it is, by which key of the configuration, and who gives it (`the token endpoint`). */
interface Asking {
  readonly target: string;
  readonly key: string;
  readonly of: string;
}

interface Limits {
  readonly connect?: Connector;
  readonly answerMs?: number | undefined;
}

export class LimitedHttp {
  readonly #asking: Asking;
  readonly #agent: Agent;
  readonly #answerMs: number;

  constructor(asking: Asking, { connect, answerMs = ANSWER_MS }: Limits = {}) {
    this.#asking = asking;
    this.#answerMs = answerMs;
    this.#agent = new Agent({ connections: CONNECTIONS_MAX, connect: connect ?? { timeout: answerMs } });
  }

  /** @throws Fault `upstream` that names the target, the key and the origin that was asked. */
  async send({ method, url, headers = {}, body, signal = AbortSignal.timeout(this.#answerMs) }: HttpAsked): Promise<HttpTold> {
    try {
      const answer = await request(url, { method, headers: { ...headers }, body: body ?? null, dispatcher: this.#agent, signal });
      return { status: answer.statusCode, headers: answer.headers, text: await readText(answer.body) };
    } catch (error) {
      if (error instanceof Fault) throw error;
      const { code = 'unknown error' } = error as { code?: string };
      throw this.fault(url, signal.aborted ? `did not answer within ${this.#answerMs} ms` : `cannot be used: ${code}`, code);
    }
  }

  /** @param code why it could not be reached, where it could not. */
  fault(url: string, what: string, code?: string): Fault {
    const { target, key, of } = this.#asking;
    return new Fault('upstream', `${target}: ${key}: ${of} at ${new URL(url).origin} ${what}`, { target, reason: 'credential', ...(code === undefined ? {} : { code }) });
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > ANSWER_BYTES_MAX) throw Object.assign(new Error(), { code: `its answer is larger than ${ANSWER_BYTES_MAX} bytes` });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
