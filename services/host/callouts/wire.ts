/** A server that is asked on our own behalf, connected to: one of its endpoints, or all of them as one. */
import type { Callout, CalloutEndpoint } from '#protocol/config/callout.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { Endpoints } from './endpoints.ts';

export interface Wire<Question, Answer> {
  /** @param deadline by `clock`. @throws Fault `timeout`, or `upstream` */
  ask(question: Question, deadline: number): Promise<Answer>;
  close(): unknown;
}

/** What is on its way to a server, as its credentials change it. */
export interface Outgoing {
  readonly method: string;
  path: string;
  /** Names in lower case. */
  readonly headers: Record<string, string>;
  readonly body: Uint8Array | undefined;
}

/** Adds who asks. @throws Fault `upstream`: nothing is asked without it. */
export type Authorize = (request: Outgoing) => void | Promise<void>;

/** Of one endpoint, by its origin: a signature is for one host. */
export type AuthorizeAt = (origin: string) => Authorize;

/** Nothing was sent, or, of a question that changes nothing (gRPC has no other word), it may be asked again. */
const UNREACHED: ReadonlySet<string | undefined> = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UNAVAILABLE']);

export const isUnreached = (error: unknown): boolean => error instanceof Fault && UNREACHED.has(error.facts['code'] ?? error.facts['reason']);

export async function overEndpoints<Q, A>({ endpoints }: Callout, open: (endpoint: CalloutEndpoint) => Promise<Wire<Q, A>>): Promise<Wire<Q, A>> {
  const [only] = endpoints;
  if (endpoints.length === 1) return open(only);
  const opened: { readonly wire: Wire<Q, A>; readonly weight: number }[] = [];
  const close = (): unknown => Promise.all(opened.map(({ wire }) => wire.close()));
  try {
    for (const endpoint of endpoints) opened.push({ wire: await open(endpoint), weight: endpoint.weight });
  } catch (error) {
    await close();
    throw error;
  }
  const all = new Endpoints(opened);
  return { ask: (question, deadline) => all.ask(({ wire }) => wire.ask(question, deadline), isUnreached), close };
}
