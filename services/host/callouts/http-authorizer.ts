/** An authorizer that is asked by plain HTTP. */
import { Pool } from 'undici';
import type { AuthorizerTarget, HttpAnswer, HttpQuestion } from '#policies/authorizer/authorizer.ts';
import type { CalloutEndpoint } from '#protocol/config/callout.ts';
import { modified } from '#protocol/config/header-modifier.ts';
import { nameOf } from '#protocol/config/host-url.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { clock } from '../clock.ts';
import { type ConnectorParts, serverConnector } from '../server-connector.ts';
import { type Authorize, type AuthorizeAt, type Wire, overEndpoints } from './wire.ts';

const CONNECTIONS_MAX = 64;
const HEADER_BYTES_MAX = 64 * 1024;
const ANSWER_BYTES_MAX = 256 * 1024;
/** A connection that was closed while it was idle says so only when it is used: the question is asked again, once. */
const STALE: ReadonlySet<string | undefined> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** @param authorizeAt absent = we ask as nobody. */
export const openHttpAuthorizer = (target: AuthorizerTarget, parts: ConnectorParts, authorizeAt?: AuthorizeAt): Promise<Wire<HttpQuestion, HttpAnswer>> =>
  overEndpoints(target.callout, async (endpoint) => openOne(endpoint, target, parts, authorizeAt?.(endpoint.origin)));

function openOne(endpoint: CalloutEndpoint, { callout: { reaching }, timeoutMs }: AuthorizerTarget, parts: ConnectorParts, authorize: Authorize | undefined): Wire<HttpQuestion, HttpAnswer> {
  const { origin, socketPath } = endpoint;
  const host = nameOf(endpoint);
  const connect = serverConnector(reaching, { ...parts, target: `the authorizer ${host}`, timeoutMs, ...(socketPath === undefined ? {} : { options: { socketPath } }) });
  const pool = new Pool(origin, { connections: CONNECTIONS_MAX, maxHeaderSize: HEADER_BYTES_MAX, connect });
  const asked = async (question: HttpQuestion): Promise<HttpQuestion> => {
    if (reaching.headers === undefined && authorize === undefined) return question;
    const request = { ...question, headers: { ...modified(question.headers, reaching.headers ?? {}) } };
    await authorize?.(request);
    return request;
  };
  return {
    async ask(question, deadline) {
      const signal = AbortSignal.timeout(Math.max(1, Math.ceil(deadline - clock())));
      try {
        const request = await asked(question);
        return await send(pool, request, signal).catch((error: unknown) => {
          if (signal.aborted || !STALE.has(codeOf(error))) throw error;
          return send(pool, request, signal);
        });
      } catch (error) {
        if (signal.aborted) throw new Fault('timeout', `${host} did not answer in time`, { target: host });
        const code = codeOf(error);
        throw error instanceof Fault ? error : new Fault('upstream', `${host} cannot be used: ${code ?? 'unknown error'}`, { target: host, ...(code === undefined ? {} : { reason: code }) });
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
