/** Faults as MCP over HTTP says them: the one place where a fault code becomes a status. Its JSON-RPC error is rpc-error.ts. */
import type { Fault, FaultCode } from '#protocol/faults/fault.ts';
import { CODE, type Id, type RpcError, errorResponse } from '#protocol/mcp/message.ts';
import { statusOf } from '#protocol/mcp/modern.ts';
import { isMoving, rpcErrorOf } from '#protocol/mcp/rpc-error.ts';
import type { Era } from '#protocol/mcp/versions.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** 200 = the transport did its work and the answer is an error: clients show its message to whoever called. */
const STATUS: Readonly<Record<FaultCode, number>> = {
  unauthenticated: 401,
  denied: 403,
  invalid: 400,
  gone: 404,
  conflict: 409,
  overloaded: 503,
  timeout: 200,
  upstream: 200,
  bug: 500,
};

const BUSY = 503;
/** It is the caller's own doing, and trying again soon is of no use (RFC 6585 4). */
const TOO_MANY = 429;
const RETRY_AFTER_S = 1;
const JSON_HEADERS = { 'content-type': 'application/json' };
const BUSY_HEADERS = { ...JSON_HEADERS, 'retry-after': String(RETRY_AFTER_S) };

export function refusalOf(fault: Fault, id: Id | undefined, era: Era): HttpAnswer {
  const error = rpcErrorOf(fault, era);
  const status = httpStatus(fault, error, era);
  return { status, headers: status === BUSY ? BUSY_HEADERS : JSON_HEADERS, body: errorResponse(id, error) };
}

/** An error in a 200 is for whoever made the JSON-RPC request; a GET or DELETE makes none, and would take it for success. */
export function bareStatus(status: number, { code }: Fault): number {
  if (status !== 200) return status;
  return code === 'timeout' ? 504 : 502;
}

function httpStatus(fault: Fault, error: RpcError, era: Era): number {
  const { status, rpc } = fault.facts;
  if (fault.code === 'invalid' && status !== undefined) return Number(status);
  if (fault.code === 'invalid' && rpc !== undefined) return era === 'modern' || error.code === CODE.unsupportedVersion ? statusOf(error.code) : 200;
  if (fault.facts['reason'] === 'principal-sessions') return TOO_MANY;
  if (fault.code === 'gone' && (era === 'modern' || fault.facts['reason'] === 'no-responders')) return BUSY;
  return isMoving(fault) ? BUSY : STATUS[fault.code];
}
