/**
 * Fetches small documents that the configuration names, as a guest that trusts nobody: encrypted (but for this machine),
 * within a time and a size, and to no place that the operator did not mean.
 *
 * G1 A redirect is followed within its origin, and a few times.
 * G2 A host of the inside is reached only where the operator wrote one; a name that leads there is not (DNS rebinding).
 * G3 Faults say which server and what went wrong, and nothing of what it sent.
 */
import { Agent, type Dispatcher, request } from 'undici';
import { isFetchable } from '#policies/tokens/config.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { isInside, lookupPublic } from './addresses.ts';

const REDIRECTS_MAX = 3;
const CONNECTIONS_MAX = 4;
export const ANSWER_BYTES_MAX = 256 * 1024;

export interface Fetched {
  readonly status: number;
  readonly text: string;
  /** The media type, as it was answered. */
  readonly type?: string | undefined;
}

export interface Fetching {
  readonly url: string;
  /** May an address of the inside be meant? Decided by the host the operator wrote. */
  readonly inside: boolean;
  readonly post?: { readonly type: string; readonly body: Uint8Array; readonly authorization?: string | undefined };
}

export class Fetcher {
  readonly #timeoutMs: number;
  readonly #outside: Agent;
  readonly #inside: Agent;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    const limits = { connections: CONNECTIONS_MAX, headersTimeout: timeoutMs, bodyTimeout: timeoutMs };
    this.#outside = new Agent({ ...limits, connect: { timeout: timeoutMs, lookup: lookupPublic } });
    this.#inside = new Agent({ ...limits, connect: { timeout: timeoutMs } });
  }

  /** @throws Fault `upstream` or `timeout`, also for any status but 200. */
  async get(url: string): Promise<string> {
    const { status, text } = await this.fetch({ url, inside: isInside(new URL(url).hostname) });
    if (status !== 200) throw new Fault('upstream', `${placeOf(url)} answered ${status}`);
    return text;
  }

  /** Whatever is answered. @throws Fault `upstream` or `timeout` when nothing was, or too much. */
  async fetch(fetching: Fetching): Promise<Fetched> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    let url = new URL(fetching.url);
    const { origin } = url;
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
      const answer = await this.#ask(url, fetching, signal);
      if ('text' in answer) return answer;
      const next = URL.canParse(answer.location, url.href) ? new URL(answer.location, url) : undefined;
      if (next?.origin !== origin) throw new Fault('upstream', `${placeOf(fetching.url)} redirects to another origin`);
      url = next;
    }
    throw new Fault('upstream', `${placeOf(fetching.url)} redirects more than ${REDIRECTS_MAX} times`);
  }

  close(): Promise<void> {
    return Promise.all([this.#outside.destroy(), this.#inside.destroy()]).then(() => undefined);
  }

  async #ask(url: URL, { inside, post }: Fetching, signal: AbortSignal): Promise<Fetched | { readonly location: string }> {
    const place = placeOf(url.href);
    if (!isFetchable(url.href)) throw new Fault('upstream', `${place} is not https`);
    if (!inside && isInside(url.hostname)) throw new Fault('upstream', `${place} is a private address`);
    try {
      const { statusCode, headers, body } = await request(url, {
        dispatcher: inside ? this.#inside : this.#outside,
        signal,
        method: post === undefined ? 'GET' : 'POST',
        headers: headersOf(post),
        body: post?.body ?? null,
      });
      const { location, 'content-type': type } = headers;
      if (statusCode < 300 || statusCode > 399 || typeof location !== 'string' || post !== undefined) return { status: statusCode, text: await readWithin(body, place), type: typeof type === 'string' ? type : undefined };
      await body.dump({ limit: ANSWER_BYTES_MAX });
      return { location };
    } catch (error) {
      throw faultOf(error, place);
    }
  }
}

const headersOf = (post: Fetching['post']): Record<string, string> => ({
  accept: 'application/json, application/jwk-set+json',
  ...(post === undefined ? {} : { 'content-type': post.type }),
  ...(post?.authorization === undefined ? {} : { authorization: post.authorization }),
});

async function readWithin(body: Dispatcher.ResponseData['body'], place: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > ANSWER_BYTES_MAX) throw new Fault('upstream', `${place} answers with more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const TIMEOUTS: ReadonlySet<string | undefined> = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT']);

function faultOf(error: unknown, place: string): Fault {
  if (error instanceof Fault) return error;
  const { code, name } = error as { code?: string; name?: string };
  if (name === 'TimeoutError' || TIMEOUTS.has(code)) return new Fault('timeout', `${place} did not answer in time`, {}, { cause: error });
  const why = code === 'EPRIVATE' ? 'its name leads to a private address' : (code ?? 'unknown error');
  return new Fault('upstream', `${place} cannot be reached: ${why}`, {}, { cause: error });
}

/** A query may hold what is not for the log. */
function placeOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
