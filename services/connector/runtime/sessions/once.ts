/**
 * One request of a client that keeps no session (statefulMode `stateless`): its upstreams are opened for it, with our own
 * initialize unless the request is the client's, and closed when its answer is complete.
 */
import type { McpBackend } from '#protocol/config/generation.ts';
import { asFault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import { CLIENT_INFO } from '../targets/target.ts';
import type { Relayed } from './relayed.ts';
import { SessionUpstreams, type SessionUpstreamsOptions } from './session-upstreams.ts';

export interface OnceOptions extends Omit<SessionUpstreamsOptions, 'initialize'> {
  readonly backend: McpBackend;
  /** The protocol version the upstreams are asked for. */
  readonly version: string;
}

export async function serveOnce(asked: Relayed, { version, ...options }: OnceOptions): Promise<void> {
  const initialize = asked.meta.method === 'initialize' ? asked.payload : ownInitialize(version);
  const upstreams = new SessionUpstreams({ ...options, initialize });
  asked.answer.whenClosed(() => void upstreams.close());
  try {
    const { response } = await upstreams.open();
    if (asked.meta.method === 'initialize') return asked.answer.end(response);
    await upstreams.initialized();
    upstreams.relay(asked);
  } catch (error) {
    asked.answer.fail(asFault(error));
  }
}

/** It offers nothing, since a server could not ask a client that is gone after this one answer. */
function ownInitialize(protocolVersion: string): Uint8Array {
  const params = { protocolVersion, capabilities: {}, clientInfo: CLIENT_INFO };
  return encode({ jsonrpc: '2.0', id: 'parley-once', method: 'initialize', params });
}
