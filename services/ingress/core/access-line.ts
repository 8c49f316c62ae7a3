/** A request that is over, as the access log tells of it. The names are those of the reference's log, as far as there is anything here that they are about. */
import type { Fields } from '#policies/accessLog/policy.ts';
import type { Activation } from '#policies/cel/variables.ts';
import type { Facts, PolicyCall, Surroundings } from '#policies/policy.ts';
import type { ResponseHeaders } from '#policies/response-edits.ts';
import { type Named, subjectOf } from '#policies/rules/named.ts';
import { requestVariables } from '#policies/rules/request-variables.ts';
import type { Listener, Backend } from '#protocol/config/generation.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import { type Message, type Request, type Response, type RpcError, parseJson } from '#protocol/mcp/message.ts';
import { Naming } from '#protocol/mcp/naming.ts';
import { isJson } from './media.ts';

export interface Finished {
  /** As its policies left it. */
  readonly call: PolicyCall;
  readonly facts: Facts;
  readonly surroundings: Surroundings;
  readonly listener: Listener | undefined;
  /** Its key; undefined where none was found. */
  readonly route: string | undefined;
  readonly backend: Backend | undefined;
  /** What was asked in MCP; undefined where nothing was, or it was not read. */
  readonly message: Message | undefined;
  readonly answer: Answered;
  /** Why it came to nothing: what a policy said, or the code of a fault. */
  readonly reason: string | undefined;
  readonly fault: Fault | undefined;
  readonly traceId: string | undefined;
  /** Of its span, where that is recorded. */
  readonly spanId: string | undefined;
  readonly tookMs: number;
}

export interface Answered {
  /** Undefined = the client had gone. */
  readonly status: number | undefined;
  readonly headers: ResponseHeaders;
  /** Undefined for streams, and where there was none. */
  readonly body: Uint8Array | string | undefined;
}

export function lineOf(finished: Finished, mcp: AskedMcp | undefined): Fields {
  const { call, facts, listener, route, backend, answer, reason, fault, traceId, spanId, tookMs } = finished;
  const error = mcp === undefined ? undefined : rpcErrorIn(answer);
  const { address, port, tls } = call.source;
  return {
    gateway: listener?.gateway,
    listener: listener?.name,
    route,
    'src.addr': address === '' ? undefined : `${address.includes(':') ? `[${address}]` : address}:${port}`,
    'src.identity': tls?.spiffeId,
    'http.method': call.method,
    'http.host': call.host,
    'http.path': call.path,
    'http.version': call.version,
    'http.status': answer.status,
    'trace.id': traceId,
    'span.id': spanId,
    'jwt.sub': facts.jwt?.['sub'],
    protocol: backend?.kind,
    'mcp.method.name': mcp?.method,
    'mcp.target': mcp?.target,
    'mcp.resource.type': mcp?.kind,
    'mcp.resource.uri': mcp?.kind === 'resource' ? mcp.name : undefined,
    'gen_ai.tool.name': mcp?.kind === 'tool' ? mcp.name : undefined,
    'gen_ai.prompt.name': mcp?.kind === 'prompt' ? mcp.name : undefined,
    'mcp.error.code': error?.code,
    'mcp.error.message': error?.message,
    error: fault === undefined || fault.code === 'bug' ? undefined : fault.message,
    reason,
    duration: `${Math.round(tookMs)}ms`,
  };
}

/** All that expressions may ask for. */
export function knownOf({ call, facts, surroundings, backend, answer: { status, headers } }: Finished, mcp: AskedMcp | undefined): Activation {
  return {
    ...requestVariables(call, facts, { surroundings }),
    response: { ...(status === undefined ? {} : { code: status }), headers },
    mcp: mcp === undefined ? undefined : variableOf(mcp),
    backend: backend === undefined ? undefined : { name: backend.variantOf ?? backend.key, type: backend.kind === 'mcp' ? 'mcp' : 'static', protocol: backend.kind },
  };
}

/** What of MCP is asked for, as far as it can be told by the request alone: where names of several targets say nothing of their target, nobody here knows it. */
export interface AskedMcp {
  readonly method: string;
  readonly kind?: Named['kind'];
  readonly target?: string | undefined;
  readonly name?: string | undefined;
  readonly arguments?: unknown;
}

export function askedOf({ message, backend }: Pick<Finished, 'message' | 'backend'>): AskedMcp | undefined {
  if (message === undefined || !('method' in message)) return undefined;
  const { method } = message;
  const named = 'id' in message ? subjectOf(message as Request) : undefined;
  if (named === undefined) return { method };
  return { method, ...named, ...targetOf(named, backend) };
}

function targetOf({ kind, name }: Named, backend: Backend | undefined): { readonly target?: string; readonly name?: string } {
  if (backend?.kind !== 'mcp' || name === undefined) return {};
  const naming = new Naming(backend);
  const [only] = backend.targets;
  if (!naming.shared) return only === undefined ? {} : { target: only.name };
  return (kind === 'resource' ? naming.splitUri(name) : naming.prefixed ? naming.splitName(name) : undefined) ?? {};
}

const variableOf = ({ method, kind, target, name, arguments: given }: AskedMcp): object => ({
  methodName: method,
  ...(kind === undefined ? {} : { [kind]: { ...(target === undefined ? {} : { target }), ...(name === undefined ? {} : { name }), ...(given === undefined ? {} : { arguments: given }) } }),
});

const ERROR_MARK = '"error"';

/** Of an answer that is one message: streams are not read again. */
function rpcErrorIn({ headers, body }: Answered): RpcError | undefined {
  if (body === undefined || !isJson(headers['content-type']?.toString())) return undefined;
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!bytes.includes(ERROR_MARK)) return undefined;
  try {
    return (parseJson(bytes) as Response).error;
  } catch {
    return undefined;
  }
}
