/** Which event a client's message is to the session. Most are plain calls and none: nothing about the session changes. */
import { type Request, parseJson } from '#protocol/mcp/message.ts';
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

const param = (payload: Uint8Array, name: string): string => String((parseJson(payload) as Request).params?.[name] ?? '');
