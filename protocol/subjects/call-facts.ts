/**
 * What ingress knows of a request and the rules of its route ask for, on its way to the connector, which judges calls by
 * it: one value beside the message, as JSON. Tokens, keys and the headers that carry them are never in it.
 */
import { z } from 'zod';
import { Fault } from '../faults/fault.ts';

/** Of the JSON. It stands in the way of every call, and a NATS header may be three times as long (percent-encoded). */
export const CALL_FACTS_CHARS_MAX = 32_768;

export const CALL_FACTS_META = z.string().optional().describe('JSON of CallFacts, when the backend has rules to judge by (call-facts.ts)');

/** Variables of rules as ingress knows them: `jwt`, `source`, `request` and so on. */
const callFacts = z.object({
  /** Key of the route the request came by. */
  route: z.string(),
  /** Stands for which facts its rules ask for: who judges by others asks for others. */
  asks: z.string(),
  known: z.record(z.string(), z.unknown()),
});
export type CallFacts = z.infer<typeof callFacts>;

/** @throws Fault `invalid` with fact `status: 431` past CALL_FACTS_CHARS_MAX. */
export function writeCallFacts(facts: CallFacts): string {
  const text = JSON.stringify(facts);
  if (text.length <= CALL_FACTS_CHARS_MAX) return text;
  throw new Fault('invalid', `what rules ask for in this request is longer than ${CALL_FACTS_CHARS_MAX} characters`, { status: '431' });
}

/** @throws Fault `bug` for what no ingress writes. */
export function readCallFacts(text: string): CallFacts {
  const read = text.length <= CALL_FACTS_CHARS_MAX ? callFacts.safeParse(JSON.parse(text)).data : undefined;
  if (read === undefined) throw new Fault('bug', 'facts of a call that cannot be read');
  return read;
}
