/** Asks a token endpoint for a token (RFC 6749 §5). What it says goes nowhere, but for the code of an error. */
import { z } from 'zod';
import type { Fault } from '#protocol/faults/fault.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import { LimitedHttp } from './limited-http.ts';

/** In messages. */
export const TOKEN_ENDPOINT = 'the token endpoint';

/** What RFC 6749 §5.2 allows, and nothing that a token could be. */
const ERROR_CODE = /^[a-z_]{1,40}$/;

const answerShape = z.object({
  access_token: z.string().min(1).optional(),
  id_token: z.string().min(1).optional(),
  issued_token_type: z.string().optional(),
  token_type: z.string().optional(),
  expires_in: z.coerce.number().nonnegative().optional(),
  expires_on: z.coerce.number().nonnegative().optional(),
});

export interface TokenAnswer {
  readonly accessToken: string | undefined;
  readonly idToken: string | undefined;
  /** RFC 8693 §2.2.1, where it is said. */
  readonly issuedType: string | undefined;
  readonly tokenType: string | undefined;
  readonly expiresInMs: number | undefined;
}

export interface TokenQuestion {
  readonly method?: 'GET' | 'POST';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** One of these at most. */
  readonly form?: URLSearchParams;
  readonly json?: object;
}

/** Whose tokens these are: for messages, and who is told of them. */
export interface TokenOwner {
  readonly target: string;
  /** Of the configuration: `backendAuth.gcp`. */
  readonly key: string;
  readonly learn: Learn;
}

export class TokenEndpoint {
  readonly #http: Pick<LimitedHttp, 'send' | 'fault' | 'close'>;
  readonly #learn: Learn;

  /** @param http absent = whatever URL is asked, as it says. */
  constructor({ target, key, learn }: TokenOwner, http: Pick<LimitedHttp, 'send' | 'fault' | 'close'> = new LimitedHttp({ target, key, of: TOKEN_ENDPOINT })) {
    this.#http = http;
    this.#learn = learn;
  }

  /** @throws Fault `upstream` that names the target, the key and the endpoint's origin. */
  async ask(question: TokenQuestion): Promise<TokenAnswer> {
    const read = answerShape.safeParse(parsed(await this.text(question)));
    if (!read.success) throw this.#http.fault(question.url, 'gave no token');
    const { access_token: accessToken, id_token: idToken, issued_token_type: issuedType, token_type: tokenType, expires_in: seconds, expires_on: end } = read.data;
    for (const token of [accessToken, idToken]) if (token !== undefined) this.#learn(token, 'passing');
    // Azure's metadata servers say when a token ends; some do not say how long that is.
    const left = end === undefined ? undefined : Math.max(0, end * 1000 - Date.now());
    return { accessToken, idToken, issuedType, tokenType, expiresInMs: seconds === undefined ? left : seconds * 1000 };
  }

  /** The body of its answer. */
  async text({ method = 'POST', url, headers = {}, form, json }: TokenQuestion): Promise<string> {
    const type = form !== undefined ? 'application/x-www-form-urlencoded' : json === undefined ? undefined : 'application/json';
    const posted = type === undefined ? {} : { 'content-type': type };
    const body = json === undefined ? form?.toString() : JSON.stringify(json);
    const { status, text } = await this.#http.send({ method, url, headers: { accept: 'application/json', ...posted, ...headers }, body });
    if (status === 200) return text;
    throw this.#http.fault(url, `answered HTTP ${status}${errorCode(text)}`);
  }

  /** Of what it gave. */
  fault(url: string, what: string): Fault {
    return this.#http.fault(url, what);
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
