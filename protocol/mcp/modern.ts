/**
 * MCP 2026-07-28 at the edge: which requests belong to the modern era, and what a server must refuse before anything else
 * looks at them. Header presence and agreement are checked here because everything behind trusts the body alone.
 */
import { CODE, type Message, type MessageKind, type Params, type Request, type RpcError, hasName, nameOf } from './message.ts';
import { type Era, LATEST_MODERN, MODERN_VERSIONS, isModernVersion } from './versions.ts';

export const META_VERSION = 'io.modelcontextprotocol/protocolVersion';
export const META_CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
export const META_CLIENT_INFO = 'io.modelcontextprotocol/clientInfo';
export const META_SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';

export const VERSION_HEADER = 'mcp-protocol-version';
const METHOD_HEADER = 'mcp-method';
const NAME_HEADER = 'mcp-name';
export const PARAM_HEADER_PREFIX = 'mcp-param-';

/** Methods of the legacy era that 2026-07-28 removed: unknown to it, whoever is behind us. */
const REMOVED: ReadonlySet<string> = new Set(['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']);

export interface Refusal {
  readonly status: number;
  readonly error: RpcError;
}

export type HeaderReader = (name: string) => string | undefined;

/** A modern request says so in its `_meta`, or in its version header: one of the two is enough to be held to the rules of both. */
export function eraOf(message: Message, kind: MessageKind, header: HeaderReader): Era {
  const version = header(VERSION_HEADER);
  if (version !== undefined && isModernVersion(version)) return 'modern';
  if (kind === 'response') return 'legacy';
  const { method, params } = message as Request;
  return params?._meta?.[META_VERSION] !== undefined && method !== 'initialize' ? 'modern' : 'legacy';
}

/** The first rule a modern message breaks, in the order of MCP 2026-07-28 "Request validation"; undefined when it keeps all. */
export function refuseModern(message: Message, kind: MessageKind, header: HeaderReader): Refusal | undefined {
  if (kind === 'response') return refuse(400, CODE.invalidRequest, 'a client sends no responses in this revision');
  const request = message as Request;
  return (
    (kind === 'request' ? refuseEnvelope(request.params) : undefined) ??
    refuseHeaders(request, kind, header) ??
    refuseVersion(request.params, header) ??
    (REMOVED.has(request.method) ? refuse(404, CODE.methodNotFound, `Method not found: ${request.method}`) : undefined)
  );
}

function refuseEnvelope(params: Params | undefined): Refusal | undefined {
  const meta = params?._meta;
  if (typeof meta?.[META_VERSION] !== 'string') return refuse(400, CODE.invalidParams, `_meta must hold ${META_VERSION}`);
  const capabilities = meta[META_CAPABILITIES];
  if (typeof capabilities === 'object' && capabilities !== null) return undefined;
  return refuse(400, CODE.invalidParams, `_meta must hold ${META_CAPABILITIES}`);
}

function refuseHeaders(request: Request, kind: MessageKind, header: HeaderReader): Refusal | undefined {
  const version = header(VERSION_HEADER);
  const stated = request.params?._meta?.[META_VERSION];
  if (version === undefined) return mismatch('MCP-Protocol-Version is missing');
  if (stated !== undefined && stated !== version) return mismatch('MCP-Protocol-Version differs from the body');
  if (kind === 'notification') return undefined;
  const method = header(METHOD_HEADER);
  if (method === undefined) return mismatch('Mcp-Method is missing');
  if (method !== request.method) return mismatch('Mcp-Method differs from the body');
  return refuseName(request, header(NAME_HEADER));
}

function refuseName(request: Request, mirrored: string | undefined): Refusal | undefined {
  const name = nameOf(request.method, request.params);
  if (mirrored === undefined) return hasName(request.method) && name !== undefined ? mismatch('Mcp-Name is missing') : undefined;
  const decoded = decodeHeader(mirrored);
  if (decoded === undefined) return mismatch('Mcp-Name is not valid base64');
  return hasName(request.method) && decoded !== name ? mismatch('Mcp-Name differs from the body') : undefined;
}

function refuseVersion(params: Params | undefined, header: HeaderReader): Refusal | undefined {
  const requested = String(params?._meta?.[META_VERSION] ?? header(VERSION_HEADER));
  return isModernVersion(requested) ? undefined : unsupportedVersion(requested, MODERN_VERSIONS);
}

const unsupportedVersion = (requested: string, supported: readonly string[]): Refusal => ({
  status: 400,
  error: { code: CODE.unsupportedVersion, message: `Unsupported protocol version: ${requested}`, data: { supported, requested } },
});

const mismatch = (message: string): Refusal => refuse(400, CODE.headerMismatch, message);
const refuse = (status: number, code: number, message: string): Refusal => ({ status, error: { code, message } });

const SENTINEL = /^=\?base64\?(.*)\?=$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** A mirrored header's value; undefined when it claims to be base64 and is not. */
export function decodeHeader(value: string): string | undefined {
  const coded = SENTINEL.exec(value.trim())?.[1];
  if (coded === undefined) return value.trim();
  return BASE64.test(coded) ? Buffer.from(coded, 'base64').toString('utf8') : undefined;
}

const PLAIN_HEADER = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** The inverse, for the headers we send upstream: anything HTTP would mangle, or that looks like the sentinel, is coded. */
export function encodeHeader(value: string): string {
  const plain = PLAIN_HEADER.test(value) && !SENTINEL.test(value);
  return plain ? value : `=?base64?${Buffer.from(value, 'utf8').toString('base64')}?=`;
}

/** HTTP status of an answer that is an error (MCP 2026-07-28 "HTTP status"): the ladder of protocol errors, else 200. */
export function statusOf(code: number): number {
  if (code === CODE.methodNotFound) return 404;
  const badRequest = code === CODE.parse || code === CODE.invalidRequest;
  const protocol = code === CODE.headerMismatch || code === CODE.missingCapability || code === CODE.unsupportedVersion;
  return badRequest || protocol ? 400 : 200;
}

/** The headers a modern request carries upstream, recomputed from the body that is sent. */
export function modernHeaders(method: string, name: string | undefined): Record<string, string> {
  const headers: Record<string, string> = { [VERSION_HEADER]: LATEST_MODERN, [METHOD_HEADER]: encodeHeader(method) };
  if (name !== undefined) headers[NAME_HEADER] = encodeHeader(name);
  return headers;
}
