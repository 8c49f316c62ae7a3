/** Asks a token endpoint for a token (RFC 6749 §5). What it says goes nowhere, but for the code of an error. */
import { z } from 'zod';
import type { BackendTls } from '#protocol/config/backend-tls.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import { LimitedHttp } from './limited-http.ts';

/** What RFC 6749 §5.2 allows, and nothing that a token could be. */
const ERROR_CODE = /^[a-z_]{1,40}$/;

const answerShape = z.object({
  access_token: z.string().min(1).optional(),
  id_token: z.string().min(1).optional(),
  issued_token_type: z.string().optional(),
  expires_in: z.coerce.number().nonnegative().optional(),
  expires_on: z.coerce.number().nonnegative().optional(),
});

export interface TokenAnswer {
  readonly accessToken: string | undefined;
  readonly idToken: string | undefined;
  /** RFC 8693 §2.2.1, where it is said. */
  readonly issuedType: string | undefined;
  readonly expiresInMs: number | undefined;
}

export interface TokenQuestion {
  readonly method?: 'GET' | 'POST';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly form?: URLSearchParams;
}

/** Whose tokens these are: for messages, and who is told of them. */
export interface TokenOwner {
  readonly target: string;
  /** Of the configuration: `backendAuth.gcp`. */
  readonly key: string;
  readonly learn: Learn;
}

export class TokenEndpoint {
  readonly #http: LimitedHttp;
  readonly #learn: Learn;

  constructor({ target, key, learn }: TokenOwner, tls?: BackendTls) {
    this.#http = new LimitedHttp({ target, key, of: 'the token endpoint' }, tls);
    this.#learn = learn;
  }

  /** @throws Fault `upstream` that names the target, the key and the endpoint's origin. */
  async ask(question: TokenQuestion): Promise<TokenAnswer> {
    const read = answerShape.safeParse(parsed(await this.text(question)));
    if (!read.success) throw this.#http.fault(question.url, 'gave no token');
    const { access_token: accessToken, id_token: idToken, issued_token_type: issuedType, expires_in: seconds, expires_on: end } = read.data;
    for (const token of [accessToken, idToken]) if (token !== undefined) this.#learn(token, 'passing');
    // Azure's metadata servers say when a token ends; some do not say how long that is.
    const left = end === undefined ? undefined : Math.max(0, end * 1000 - Date.now());
    return { accessToken, idToken, issuedType, expiresInMs: seconds === undefined ? left : seconds * 1000 };
  }

  /** The body of its answer. */
  async text({ method = 'POST', url, headers = {}, form }: TokenQuestion): Promise<string> {
    const posted = form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' };
    const { status, text } = await this.#http.send({ method, url, headers: { accept: 'application/json', ...posted, ...headers }, body: form?.toString() });
    if (status === 200) return text;
    throw this.#http.fault(url, `answered HTTP ${status}${errorCode(text)}`);
  }

  close(): Promise<void> {
    return this.#http.close();
  }
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
