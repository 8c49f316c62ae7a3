/**
 * JSON-RPC messages as this gateway sees them: parsed once, forwarded as the bytes they came in. Only what routing needs
 * is looked at, so unknown fields survive by never being touched.
 */

export type Id = string | number;

export interface Request {
  readonly jsonrpc: '2.0';
  readonly id: Id;
  readonly method: string;
  readonly params?: Params;
}

export interface Notification {
  readonly jsonrpc: '2.0';
  readonly method: string;
  readonly params?: Params;
}

export interface Response {
  readonly jsonrpc: '2.0';
  readonly id?: Id | null;
  readonly result?: Record<string, unknown>;
  readonly error?: RpcError;
}

export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

export type Message = Request | Notification | Response;
export type Params = Record<string, unknown> & { readonly _meta?: Record<string, unknown> };
export type MessageKind = 'request' | 'notification' | 'response';

export const ID_CHARS_MAX = 256;
export const METHOD_CHARS_MAX = 256;

/** JSON-RPC 2.0 and MCP codes (MCP 2026-07-28 "Errors"; -32001 and below are the legacy range). */
export const CODE = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  legacyServer: -32001,
  headerMismatch: -32020,
  missingCapability: -32021,
  unsupportedVersion: -32022,
} as const;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The kind of one parsed message, or undefined when it is no JSON-RPC 2.0 message MCP allows (batches included). */
export function kindOf(value: unknown): MessageKind | undefined {
  if (!isRecord(value) || value['jsonrpc'] !== '2.0') return undefined;
  const { id, method, params } = value;
  if (method === undefined) return isResponse(value) ? 'response' : undefined;
  if (typeof method !== 'string' || method.length === 0 || method.length > METHOD_CHARS_MAX) return undefined;
  if (params !== undefined && !isRecord(params)) return undefined;
  if (!Object.hasOwn(value, 'id')) return 'notification';
  return isId(id) ? 'request' : undefined;
}

function isResponse(value: Record<string, unknown>): boolean {
  const hasResult = Object.hasOwn(value, 'result');
  if (hasResult === Object.hasOwn(value, 'error')) return false;
  return isId(value['id']) || (!hasResult && (value['id'] === null || value['id'] === undefined));
}

export const isId = (id: unknown): id is Id =>
  (typeof id === 'string' && id.length <= ID_CHARS_MAX) || (typeof id === 'number' && Number.isInteger(id));

/** An id as a map key and header value: its JSON, so that 1 and "1" stay apart. */
export const idKey = (id: Id): string => JSON.stringify(id);

export const parseJson = (bytes: Uint8Array): unknown => JSON.parse(decode(bytes));

const decoder = new TextDecoder('utf-8', { fatal: true });
const encoder = new TextEncoder();
export const decode = (bytes: Uint8Array): string => decoder.decode(bytes);
export const encode = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

export const errorResponse = (id: Id | null | undefined, error: RpcError): Uint8Array =>
  encode(id === null || id === undefined ? { jsonrpc: '2.0', error } : { jsonrpc: '2.0', id, error });

/** A name travels in headers, of HTTP and of NATS; a longer one is treated as none and stays in the body. */
const NAME_CHARS_MAX = 4_096;

/** What names the thing a request is about: the value `Mcp-Name` mirrors (MCP 2026-07-28, "Standard headers"). */
export function nameOf(method: string, params: Params | undefined): string | undefined {
  const key = NAME_PARAM[method];
  const value = key === undefined ? undefined : params?.[key];
  return typeof value === 'string' && value.length <= NAME_CHARS_MAX ? value : undefined;
}

const NAME_PARAM: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
};

export const hasName = (method: string): boolean => Object.hasOwn(NAME_PARAM, method);
