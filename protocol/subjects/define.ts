/**
 * A subject is a contract: who owns it, how it is delivered, what travels beside the payload. A subject string that was
 * not built by `.to()` is a defect, and the type `Subject` keeps it out of the bus.
 *
 * Modes:
 *   call   one member answers (a queue group, or the one owner); answers are frames
 *   one    one member hears it, nobody answers
 *   event  everybody who listens hears it; a fact, past tense
 */
import type { z } from 'zod';

export type Mode = 'call' | 'one' | 'event';
export type Owner = 'ingress' | 'policy' | 'session' | 'connector' | 'host';

type Tokens<P extends string> = P extends `${string}{${infer T}}${infer Rest}` ? { [K in T]: string } & Tokens<Rest> : unknown;

declare const meta: unique symbol;

/** A concrete subject that carries the type of its metadata. */
export type Subject<M> = string & { readonly [meta]: M };

export interface Contract<P extends string, M extends z.ZodObject> {
  readonly pattern: P;
  readonly owner: Owner;
  readonly mode: Mode;
  /** Metadata: flat strings, carried as one NATS header (services/host/bus/wire.ts). */
  readonly meta: M;
  /** One sentence: what the payload bytes are. */
  readonly payload: string;
  /** One sentence: what comes back, for mode `call`. */
  readonly reply?: string;
  /** The wildcard that covers every subject of this contract. */
  readonly filter: string;
  to(tokens: Tokens<P>): Subject<z.infer<M>>;
  parse(subject: string): Tokens<P> | undefined;
}

const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

/** @throws RangeError when a token holds anything but 1 to 64 of `A-Za-z0-9_-`: wildcards and dots would address other subjects. */
export function defineSubject<const P extends string, M extends z.ZodObject>(
  spec: Pick<Contract<P, M>, 'pattern' | 'owner' | 'mode' | 'meta' | 'payload' | 'reply'>,
): Contract<P, M> {
  const parts = spec.pattern.split('.').map((part) => ({ name: /^\{(\w+)\}$/.exec(part)?.[1], text: part }));
  return {
    ...spec,
    filter: parts.map((part) => (part.name ? '*' : part.text)).join('.'),
    to(tokens) {
      const values = tokens as Record<string, string>;
      let subject = '';
      for (const part of parts) {
        const text = part.name === undefined ? part.text : token(part.name, values[part.name]);
        subject = subject === '' ? text : `${subject}.${text}`;
      }
      return subject as Subject<z.infer<M>>;
    },
    parse(subject) {
      const texts = subject.split('.');
      if (texts.length !== parts.length) return undefined;
      const found: Record<string, string> = {};
      for (const [index, part] of parts.entries()) {
        const text = texts[index] ?? '';
        if (part.name !== undefined && TOKEN.test(text)) found[part.name] = text;
        else if (part.name !== undefined || part.text !== text) return undefined;
      }
      return found as Tokens<P>;
    },
  };
}

function token(name: string, value: string | undefined): string {
  if (value !== undefined && TOKEN.test(value)) return value;
  throw new RangeError(`subject token ${name} must be 1 to 64 of A-Z a-z 0-9 _ -`);
}
