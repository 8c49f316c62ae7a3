/**
 * A value nobody may see who does not use it: a key, a password, a token. It prints, inspects and serializes as
 * `<redacted>`; whoever uses it says so by `reveal`.
 */
import { createHmac, randomBytes } from 'node:crypto';

const REDACTED = '<redacted>';

/** Drawn for this process: what stands for a secret here says nothing of it elsewhere. */
const PEPPER = randomBytes(32);

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  /** The same for the same secret, in this process alone. */
  get mark(): string {
    return createHmac('sha256', PEPPER).update(this.#value).digest('base64');
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return REDACTED;
  }
}

/** Text that is equal for equal values, secrets in them included, and holds none of them. */
export const marked = (value: unknown): string =>
  JSON.stringify(value, function mark(this: Record<string, unknown>, key: string, inner: unknown): unknown {
    const original = this[key];
    return original instanceof Secret ? original.mark : inner;
  });
