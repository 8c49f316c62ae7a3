/** Reading what an upstream sent as JSON-RPC, without trusting it. */
import { Fault } from '#protocol/faults/fault.ts';
import { type Id, type Notification, type Request, type Response, kindOf, parseJson } from '#protocol/mcp/message.ts';

export type FromUpstream =
  | { readonly kind: 'response'; readonly message: Response }
  | { readonly kind: 'request'; readonly message: Request }
  | { readonly kind: 'notification'; readonly message: Notification };

/** @throws Fault `upstream` when the bytes are no JSON-RPC message. */
export function readMessage(bytes: Uint8Array, target: string): FromUpstream {
  const value = parse(bytes, target);
  const kind = kindOf(value);
  if (kind === undefined) throw new Fault('upstream', `${target} sent something that is no JSON-RPC message`, { target });
  return { kind, message: value } as FromUpstream;
}

/** @throws Fault `upstream` unless the bytes are the response to this request. */
export function readResponse(bytes: Uint8Array, id: Id, target: string): Response {
  const { kind, message } = readMessage(bytes, target);
  if (kind !== 'response' || message.id !== id) throw new Fault('upstream', `${target} answered another request than the one asked`, { target });
  return message;
}

/** The JSON-RPC error in the body of an HTTP refusal, with our id where the upstream left it out. */
export function readRefusal(bytes: Uint8Array, id: Id): Response | undefined {
  try {
    const value = parseJson(bytes);
    if (kindOf(value) !== 'response' || (value as Response).error === undefined) return undefined;
    return { ...(value as Response), id };
  } catch {
    return undefined;
  }
}

function parse(bytes: Uint8Array, target: string): unknown {
  try {
    return parseJson(bytes);
  } catch (cause) {
    throw new Fault('upstream', `${target} sent something that is no JSON`, { target }, { cause });
  }
}
