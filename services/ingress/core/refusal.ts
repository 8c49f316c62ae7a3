/** Faults as MCP over HTTP says them: the one place where a fault code becomes a status and a JSON-RPC error. */
import type { Fault, FaultCode } from '#protocol/faults/fault.ts';
import { CODE, type Id, type RpcError, errorResponse } from '#protocol/mcp/message.ts';
import { statusOf } from '#protocol/mcp/modern.ts';
import type { Era } from '#protocol/mcp/versions.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

interface Wire {
  readonly status: number;
  readonly code: number;
}

/** 200 = the transport did its work and the answer is an error: clients show its message to whoever called. */
const WIRE: Readonly<Record<FaultCode, Wire>> = {
  unauthenticated: { status: 401, code: CODE.invalidRequest },
  denied: { status: 403, code: CODE.invalidRequest },
  invalid: { status: 400, code: CODE.invalidRequest },
  gone: { status: 404, code: CODE.legacyServer },
  conflict: { status: 409, code: CODE.invalidRequest },
  overloaded: { status: 503, code: CODE.internal },
  timeout: { status: 200, code: CODE.internal },
  upstream: { status: 200, code: CODE.internal },
  bug: { status: 500, code: CODE.internal },
};

/** Which of our services is missing is for the operator's log, not for callers. */
const NOBODY = 'A service behind this endpoint is not running; try again shortly';
const BUSY = 503;
const RETRY_AFTER_S = 1;
const JSON_HEADERS = { 'content-type': 'application/json' };
const BUSY_HEADERS = { ...JSON_HEADERS, 'retry-after': String(RETRY_AFTER_S) };

export function rpcErrorOf(fault: Fault, era: Era): RpcError {
  const { rpc, uri, supported, requested, id } = fault.facts;
  if (!fault.readable) return { code: CODE.internal, message: `Internal error ${id ?? ''}`.trim() };
  if (fault.facts['reason'] === 'no-responders') return { code: CODE.internal, message: NOBODY };
  const code = rpc === undefined ? wireCode(fault, era) : Number(rpc);
  if (uri !== undefined) return { code, message: fault.message, data: { uri } };
  if (supported !== undefined) return { code, message: fault.message, data: { supported: supported.split(' '), requested } };
  return { code, message: fault.message };
}

/** -32001 is what legacy clients know for a session that is gone and a request that timed out; modern ones know neither. */
function wireCode(fault: Fault, era: Era): number {
  if (era === 'modern') return fault.code === 'gone' ? CODE.internal : WIRE[fault.code].code;
  return fault.code === 'timeout' ? CODE.legacyServer : WIRE[fault.code].code;
}

export function refusalOf(fault: Fault, id: Id | undefined, era: Era): HttpAnswer {
  const error = rpcErrorOf(fault, era);
  const status = httpStatus(fault, error, era);
  return { status, headers: status === BUSY ? BUSY_HEADERS : JSON_HEADERS, body: errorResponse(id, error) };
}

function httpStatus(fault: Fault, error: RpcError, era: Era): number {
  const { status, rpc } = fault.facts;
  if (fault.code === 'invalid' && status !== undefined) return Number(status);
  if (fault.code === 'invalid' && rpc !== undefined) return era === 'modern' || error.code === CODE.unsupportedVersion ? statusOf(error.code) : 200;
  if (fault.code === 'gone' && (era === 'modern' || fault.facts['reason'] === 'no-responders')) return 503;
  return WIRE[fault.code].status;
}
