/** Asks a server as the configuration says that it is reached: whichever of its endpoints, with the headers and credentials it wants. */
import type { Callout } from '#protocol/config/callout.ts';
import { modified } from '#protocol/config/header-modifier.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import { Endpoints } from '#host/callouts/endpoints.ts';
import { type Authorize, isUnreached } from '#host/callouts/wire.ts';
import { serverConnector } from '#host/server-connector.ts';
import { type CalloutCredentials, calloutCredentials } from './callout-credentials.ts';
import type { CredentialSurroundings } from '../credentials/credentials.ts';
import { ANSWER_MS, type HttpAsked, type HttpTold, LimitedHttp } from './limited-http.ts';

interface Asking extends Omit<CredentialSurroundings, 'url'> {
  /** For messages, as of LimitedHttp. */
  readonly key: string;
  readonly of: string;
}

export class CalloutHttp {
  readonly #callout: Callout;
  readonly #http: LimitedHttp;
  readonly #credentials: CalloutCredentials;
  readonly #endpoints: Endpoints<{ readonly origin: string; readonly weight: number; readonly authorize: Authorize | undefined }>;

  constructor(callout: Callout, asking: Asking) {
    const { reaching, endpoints } = callout;
    const { target, of } = asking;
    this.#callout = callout;
    this.#credentials = calloutCredentials(reaching, asking);
    const { authorizeAt, proxyAuthorization } = this.#credentials;
    const connect = serverConnector(reaching, { ...asking, target: `${target}: ${of.replace(/^the /, '')}`, timeoutMs: ANSWER_MS, proxyAuthorization });
    this.#http = new LimitedHttp(asking, { connect, answerMs: reaching.timeoutMs });
    this.#endpoints = new Endpoints(endpoints.map((endpoint) => ({ ...endpoint, authorize: authorizeAt?.(endpoint.origin) })));
  }

  /** @param asked its URL is that of the first endpoint. @throws Fault as LimitedHttp does. */
  send({ method, url, headers = {}, body }: HttpAsked): Promise<HttpTold> {
    const { reaching } = this.#callout;
    const { pathname, search } = new URL(url);
    const signal = AbortSignal.timeout(reaching.timeoutMs ?? ANSWER_MS);
    return this.#endpoints.ask(async ({ origin, authorize }) => {
      const request = { method, path: pathname + search, headers: { ...modified(headers, reaching.headers ?? {}) }, body: typeof body === 'string' ? new TextEncoder().encode(body) : body };
      await authorize?.(request);
      return this.#http.send({ ...request, url: origin + request.path, signal });
    }, isUnreached);
  }

  fault(url: string, what: string): Fault {
    return this.#http.fault(url, what);
  }

  async close(): Promise<void> {
    await Promise.all([this.#http.close(), this.#credentials.close()]);
  }
}
