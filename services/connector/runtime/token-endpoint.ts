/** Asks a token endpoint for a token (RFC 6749 §5). What it says goes nowhere, but for the code of an error. */
import { Agent, request } from 'undici';
import { z } from 'zod';
import type { BackendTls } from '#protocol/config/backend-tls.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { securedConnector } from '#host/secured-connector.ts';

const ANSWER_MS = 5_000;
const ANSWER_BYTES_MAX = 256 * 1024;
const CONNECTIONS_MAX = 16;
/** What RFC 6749 §5.2 allows, and nothing that a token could be. */
const ERROR_CODE = /^[a-z_]{1,40}$/;

const answerShape = z.object({ access_token: z.string().min(1).optional(), id_token: z.string().min(1).optional(), expires_in: z.coerce.number().nonnegative().optional(), expires_on: z.coerce.number().nonnegative().optional() });

export interface TokenAnswer {
  readonly accessToken: string | undefined;
  readonly idToken: string | undefined;
  readonly expiresInMs: number | undefined;
}

export interface TokenQuestion {
  readonly method?: 'GET' | 'POST';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly form?: URLSearchParams;
}

export class TokenEndpoint {
  readonly #target: string;
  readonly #agent: Agent;

  /** @param target whose credential it is, for messages. */
  constructor(target: string, tls?: BackendTls) {
    this.#target = target;
    const connect = tls === undefined ? { timeout: ANSWER_MS } : securedConnector(tls, { target: `${target}: token endpoint`, timeoutMs: ANSWER_MS });
    this.#agent = new Agent({ connections: CONNECTIONS_MAX, connect });
  }

  /** @throws Fault `upstream` that names the target and the endpoint's origin. */
  async ask(question: TokenQuestion): Promise<TokenAnswer> {
    const read = answerShape.safeParse(parsed(await this.text(question)));
    if (!read.success) throw this.#fault(question.url, 'gave no token');
    const { access_token: accessToken, id_token: idToken, expires_in: seconds, expires_on: end } = read.data;
    // Azure's metadata servers say when a token ends; some do not say how long that is.
    const left = end === undefined ? undefined : Math.max(0, end * 1000 - Date.now());
    return { accessToken, idToken, expiresInMs: seconds === undefined ? left : seconds * 1000 };
  }

  /** The body of its answer. */
  async text({ method = 'POST', url, headers = {}, form }: TokenQuestion): Promise<string> {
    const posted = form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' };
    const signal = AbortSignal.timeout(ANSWER_MS);
    try {
      const { statusCode, body } = await request(url, { method, headers: { accept: 'application/json', ...posted, ...headers }, body: form?.toString() ?? null, dispatcher: this.#agent, signal });
      const text = await readText(body);
      if (statusCode === 200) return text;
      throw this.#fault(url, `answered HTTP ${statusCode}${errorCode(text)}`);
    } catch (error) {
      if (error instanceof Fault) throw error;
      const { code = 'unknown error' } = error as { code?: string };
      throw this.#fault(url, signal.aborted ? `did not answer within ${ANSWER_MS} ms` : `cannot be used: ${code}`);
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  #fault(url: string, what: string): Fault {
    return new Fault('upstream', `${this.#target}: no credential: the token endpoint at ${new URL(url).origin} ${what}`, { target: this.#target, reason: 'credential' });
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

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function errorCode(text: string): string {
  const code = (parsed(text) as { error?: unknown } | null | undefined)?.error;
  return typeof code === 'string' && ERROR_CODE.test(code) ? ` (${code})` : '';
}
