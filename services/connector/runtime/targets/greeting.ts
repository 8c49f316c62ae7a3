/** What a legacy server answers to initialize, checked before anything is remembered of it. */
import { Fault } from '#protocol/faults/fault.ts';
import type { Response } from '#protocol/mcp/message.ts';
import { wrongInitializeResult } from '#protocol/mcp/shapes.ts';

export interface Greeting {
  readonly result: Record<string, unknown>;
  readonly version: string;
  readonly capabilities: Readonly<Record<string, unknown>>;
}

/** @throws Fault `upstream`: fact `code` is the JSON-RPC code when the server refused. */
export function readGreeting(response: Response, target: string): Greeting {
  if (response.error) {
    throw new Fault('upstream', `${target} refused to initialize: ${response.error.message}`, { target, code: String(response.error.code) });
  }
  const result = response.result ?? {};
  const wrong = wrongInitializeResult(result);
  if (wrong !== undefined) throw new Fault('upstream', `${target} answered initialize wrongly: ${wrong}`, { target });
  return { result, version: String(result['protocolVersion']), capabilities: result['capabilities'] as Record<string, unknown> };
}
