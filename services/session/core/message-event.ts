/** Which event a client's message is to the session. Most are plain calls and none: nothing about the session changes. */
import { encode, parseJson, type Id, type Request } from '#protocol/mcp/message.ts';
import type { SessionEvent } from './session.machine.ts';

export function eventOf(method: string | undefined, payload: Uint8Array, at: number): SessionEvent | undefined {
  switch (method) {
    case 'notifications/initialized':
      return { type: 'initialized', at };
    case 'logging/setLevel':
      return { type: 'levelSet', at, level: param(payload, 'level') };
    case 'resources/subscribe':
      return { type: 'subscribed', at, uri: param(payload, 'uri') };
    case 'resources/unsubscribe':
      return { type: 'unsubscribed', at, uri: param(payload, 'uri') };
    default:
      return undefined;
  }
}

const CHANGES: ReadonlySet<string> = new Set(['notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']);

/** Whether `eventOf` would find one. */
export const changesSession = (method: string | undefined): boolean => method !== undefined && CHANGES.has(method);

/** A ping is answered by the session, and an end is not to fail because they cannot be had. */
export const needsUpstreams = ({ verb, method }: { readonly verb: string; readonly method?: string | undefined }): boolean => verb !== 'close' && verb !== 'kill' && verb !== 'find' && method !== 'ping';

const param = (payload: Uint8Array, name: string): string => String((parseJson(payload) as Request).params?.[name] ?? '');

/** The answer to a ping. @param id as JSON. */
export const pongTo = (id = 'null'): Uint8Array => encode({ jsonrpc: '2.0', id: JSON.parse(id) as Id, result: {} });
