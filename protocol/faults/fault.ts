/**
 * The one way a part of Parley says "I cannot do my job". A policy's no is a verdict and a rejected event is a state;
 * neither is a Fault. Wire codes are chosen once per protocol at the edge, from the code alone, never from the message.
 */

/** What each code answers: may the asker try again, and may the caller read the message. */
const TABLE = {
  unauthenticated: { retry: false, readable: true },
  denied: { retry: false, readable: true },
  invalid: { retry: false, readable: true },
  gone: { retry: false, readable: true },
  conflict: { retry: true, readable: true },
  overloaded: { retry: true, readable: true },
  timeout: { retry: true, readable: true },
  upstream: { retry: false, readable: true },
  bug: { retry: false, readable: false },
} as const satisfies Record<string, { retry: boolean; readable: boolean }>;

export type FaultCode = keyof typeof TABLE;

export const FAULT_CODES = Object.keys(TABLE) as readonly FaultCode[];

export class Fault extends Error {
  override readonly name = 'Fault';
  readonly code: FaultCode;
  /** Small facts for the edge (a JSON-RPC code, an HTTP status an upstream gave): strings only, never secrets. */
  readonly facts: Readonly<Record<string, string>>;

  constructor(code: FaultCode, message: string, facts: Readonly<Record<string, string>> = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.facts = facts;
  }

  get retryable(): boolean {
    return TABLE[this.code].retry;
  }

  get readable(): boolean {
    return TABLE[this.code].readable;
  }
}

export const isFaultCode = (text: string): text is FaultCode => Object.hasOwn(TABLE, text);

/** Whatever is not a Fault is a bug of ours: the detail stays with us as `cause`, the caller gets an id. */
export function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  return new Fault('bug', 'internal error', { id: crypto.randomUUID() }, { cause: error });
}
