/** Faults as JSON-RPC errors, in the words of either era: written to a client's stream, or to the log it may come back to. */
import type { Fault, FaultCode } from '../faults/fault.ts';
import { CODE, type RpcError } from './message.ts';
import type { Era } from './versions.ts';

const WIRE: Readonly<Record<FaultCode, number>> = {
  unauthenticated: CODE.invalidRequest,
  denied: CODE.invalidRequest,
  invalid: CODE.invalidRequest,
  gone: CODE.legacyServer,
  conflict: CODE.invalidRequest,
  overloaded: CODE.internal,
  timeout: CODE.internal,
  upstream: CODE.internal,
  bug: CODE.internal,
};

/** Which of our services is missing is for the operator's log, not for callers. */
const NOBODY = 'A service behind this endpoint is not running; try again shortly';
const MOVING = 'The session is being moved; try again shortly';
/** What a later attempt may find again: the session is not gone, it is on its way. */
const PASSING: ReadonlySet<string | undefined> = new Set(['no-upstreams', 'moved', 'seen']);

export function rpcErrorOf(fault: Fault, era: Era): RpcError {
  const { rpc, uri, supported, requested, id } = fault.facts;
  if (!fault.readable) return { code: CODE.internal, message: `Internal error ${id ?? ''}`.trim() };
  if (fault.facts['reason'] === 'no-responders') return { code: CODE.internal, message: NOBODY };
  if (isMoving(fault)) return { code: CODE.internal, message: MOVING };
  const code = rpc === undefined ? wireCode(fault, era) : Number(rpc);
  if (uri !== undefined) return { code, message: fault.message, data: { uri } };
  if (supported !== undefined) return { code, message: fault.message, data: { supported: supported.split(' '), requested } };
  return { code, message: fault.message };
}

/** -32001 is what legacy clients know for a session that is gone and a request that timed out; modern ones know neither. */
function wireCode(fault: Fault, era: Era): number {
  if (era === 'modern') return fault.code === 'gone' ? CODE.internal : WIRE[fault.code];
  return fault.code === 'timeout' ? CODE.legacyServer : WIRE[fault.code];
}

export const isMoving = ({ code, facts }: Fault): boolean => (code === 'gone' || code === 'conflict') && PASSING.has(facts['reason']);
