/** An authorizer that is asked by plain HTTP. */
import { Pool } from 'undici';
import { type OwnParts, securedConnector } from '#host/secured-connector.ts';
import type { AuthorizerTarget, HttpAnswer, HttpQuestion } from '#policies/authorizer/authorizer.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Wire } from './authorizers.ts';

const CONNECTIONS_MAX = 64;
const HEADER_BYTES_MAX = 64 * 1024;
const ANSWER_BYTES_MAX = 256 * 1024;
/** A connection that was closed while it was idle says so only when it is used: the question is asked again, once. */
const STALE: ReadonlySet<string | undefined> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

export async function openHttpAuthorizer({ url, tls, timeoutMs }: AuthorizerTarget, { svids, learn }: OwnParts): Promise<Wire<HttpQuestion, HttpAnswer>> {
  const { host } = new URL(url);
  const connect = tls === undefined ? { timeout: timeoutMs } : securedConnector(tls, { target: `the authorizer ${host}`, timeoutMs, svids, learn });
  const pool = new Pool(url, { connections: CONNECTIONS_MAX, maxHeaderSize: HEADER_BYTES_MAX, connect });
  return {
    async ask(question) {
      const signal = AbortSignal.timeout(timeoutMs);
      try {
        return await send(pool, question, signal).catch((error: unknown) => {
          if (signal.aborted || !STALE.has(codeOf(error))) throw error;
          return send(pool, question, signal);
        });
      } catch (error) {
        if (signal.aborted) throw new Fault('timeout', `${host} did not answer in time`, { target: host });
        throw error instanceof Fault ? error : new Fault('upstream', `${host} cannot be used: ${codeOf(error) ?? 'unknown error'}`, { target: host });
      }
    },
    close: () => pool.destroy(),
  };
}

async function send(pool: Pool, { method, path, headers, body }: HttpQuestion, signal: AbortSignal): Promise<HttpAnswer> {
  const response = await pool.request({ method: method as 'GET', path, headers, body: body ?? null, signal });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > ANSWER_BYTES_MAX) throw new Fault('upstream', `its answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
}

const codeOf = (error: unknown): string | undefined => (error as { readonly code?: string }).code;
