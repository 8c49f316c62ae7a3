/** What an HTTP authorizer is asked, and what it answers, as bytes between two processes of ours. */
import { z } from 'zod';
import type { HttpAnswer, HttpQuestion } from '#policies/authorizer/authorizer.ts';
import { Fault } from '#protocol/faults/fault.ts';

const base64 = z.base64().transform((text): Uint8Array => Buffer.from(text, 'base64'));

const question = z.object({ method: z.string(), path: z.string(), headers: z.record(z.string(), z.string()), body: base64.optional() });
const answer = z.object({ status: z.int(), headers: z.record(z.string(), z.union([z.string(), z.array(z.string())])), body: base64 });

const bytesOf = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

const text = (value: Uint8Array): string => Buffer.from(value).toString('base64');

/** @throws Fault `bug`: the other side is ours. */
function read<S extends z.ZodType>(schema: S, bytes: Uint8Array): z.output<S> {
  try {
    return schema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (cause) {
    throw new Fault('bug', 'a process of another release speaks of authorizers in another way', {}, { cause });
  }
}

export const questionBytes = ({ body, ...rest }: HttpQuestion): Uint8Array => bytesOf({ ...rest, ...(body === undefined ? {} : { body: text(body) }) });

export function questionOf(bytes: Uint8Array): HttpQuestion {
  const { body, ...rest } = read(question, bytes);
  return { ...rest, body };
}

export const answerBytes = ({ body, ...rest }: HttpAnswer): Uint8Array => bytesOf({ ...rest, body: text(body) });

export const answerOf = (bytes: Uint8Array): HttpAnswer => read(answer, bytes);
