/**
 * A login that is under way, as the browser keeps it: from the moment it is sent to the provider until it comes back.
 *
 * T1 It is sealed, for one place, and found by the state that comes back: another state, or another browser, has none.
 * T2 It is good for minutes, and taken away when the browser comes back.
 * T3 However many logins a browser begins, what it keeps of them is bounded: the oldest go first.
 */
import { hash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { HeaderList, PolicyCall } from '../policy.ts';
import { type CookieWriter, loginCookies } from './cookies.ts';
import { type Sealing, open, seal } from './seal.ts';

export const TRANSACTION_MS = 5 * 60_000;
const STATE_BYTES = 32;
const STATE_CHARS_MAX = 128;
const ID_CHARS = 16;
/** All together, of those that go on beside a new one. */
const KEPT_CHARS_MAX = 4_096;

const transaction = z.object({ state: z.string(), nonce: z.string(), verifier: z.string(), target: z.string() });
export type Transaction = z.infer<typeof transaction>;

export interface TransactionsOptions extends Sealing {
  /** What the names of its cookies begin with. */
  readonly name: string;
  readonly cookies: CookieWriter;
  readonly now: () => number;
}

export const newState = (): string => randomBytes(STATE_BYTES).toString('base64url');

export class LoginTransactions {
  readonly #options: TransactionsOptions;

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /** Headers that keep it. */
  async begin(call: PolicyCall, begun: Transaction): Promise<HeaderList> {
    const { cookies, now } = this.#options;
    const sealed = await seal(begun, this.#options, now() + TRANSACTION_MS);
    return [...cookies.clear(this.#tooMany(call)), ...cookies.set([[this.#nameOf(begun.state), sealed]], TRANSACTION_MS)];
  }

  /** The one of this state. */
  async find(call: PolicyCall, state: string): Promise<Transaction | 'expired' | 'forged' | 'missing'> {
    const sealed = state.length > STATE_CHARS_MAX ? undefined : loginCookies(call).get(this.#nameOf(state));
    if (typeof sealed !== 'string') return 'missing';
    const opened = await open(sealed, this.#options, this.#options.now());
    if (typeof opened === 'string') return opened;
    const found = transaction.safeParse(opened.value).data;
    return found?.state === state ? found : 'forged';
  }

  /** Headers that take it away. */
  end(state: string): HeaderList {
    return this.#options.cookies.clear([this.#nameOf(state)]);
  }

  /** Headers that take all away. */
  endAll(call: PolicyCall): HeaderList {
    return this.#options.cookies.clear(this.#in(call).map(([name]) => name));
  }

  #nameOf(state: string): string {
    return `${this.#options.name}.${hash('sha256', state, 'hex').slice(0, ID_CHARS)}`;
  }

  #in(call: PolicyCall): (readonly [name: string, chars: number])[] {
    const start = `${this.#options.name}.`;
    return [...loginCookies(call)].flatMap(([name, value]) => (name.startsWith(start) ? [[name, typeof value === 'string' ? value.length : 0] as const] : []));
  }

  /** T3. Browsers send the oldest first. */
  #tooMany(call: PolicyCall): string[] {
    let chars = 0;
    return this.#in(call).toReversed().flatMap(([name, length]) => ((chars += length) > KEPT_CHARS_MAX ? [name] : []));
  }
}
