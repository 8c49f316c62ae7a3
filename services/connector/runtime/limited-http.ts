/** Asks those who give credentials out: in time, for answers of a size, and without following them elsewhere. */
import { Agent, request } from 'undici';
import type { BackendTls } from '#protocol/config/backend-tls.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type OwnParts, securedConnector } from '#host/secured-connector.ts';

export const ANSWER_MS = 5_000;
const ANSWER_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 16;

export interface HttpAsked {
  readonly method: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
}

export interface HttpTold {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** For messages: whose credential it is, by which key of the configuration, and who gives it (`the token endpoint`). */
interface Asking extends OwnParts {
  readonly target: string;
  readonly key: string;
  readonly of: string;
}

export class LimitedHttp {
  readonly #asking: Asking;
  readonly #agent: Agent;

  constructor(asking: Asking, tls?: BackendTls) {
    this.#asking = asking;
    const { target, svids, learn } = asking;
    const connect = tls === undefined ? { timeout: ANSWER_MS } : securedConnector(tls, { target: `${target}: token endpoint`, timeoutMs: ANSWER_MS, svids, learn });
    this.#agent = new Agent({ connections: CONNECTIONS_MAX, connect });
  }

  /** @throws Fault `upstream` that names the target, the key and the origin that was asked. */
  async send({ method, url, headers = {}, body }: HttpAsked): Promise<HttpTold> {
    const signal = AbortSignal.timeout(ANSWER_MS);
    try {
      const answer = await request(url, { method, headers: { ...headers }, body: body ?? null, dispatcher: this.#agent, signal });
      return { status: answer.statusCode, headers: answer.headers, text: await readText(answer.body) };
    } catch (error) {
      if (error instanceof Fault) throw error;
      const { code = 'unknown error' } = error as { code?: string };
      throw this.fault(url, signal.aborted ? `did not answer within ${ANSWER_MS} ms` : `cannot be used: ${code}`);
    }
  }

  fault(url: string, what: string): Fault {
    const { target, key, of } = this.#asking;
    return new Fault('upstream', `${target}: ${key}: ${of} at ${new URL(url).origin} ${what}`, { target, reason: 'credential' });
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
