/** MCP over Streamable HTTP: one path, both eras. What every message must be before an era is asked about it. */
import { Fault } from '#protocol/faults/fault.ts';
import type { Chain } from '#policies/chain.ts';
import { CODE, type Message, type MessageKind, type Request, encode, kindOf, parseJson } from '#protocol/mcp/message.ts';
import { VERSION_HEADER, eraOf } from '#protocol/mcp/modern.ts';
import { isModernVersion } from '#protocol/mcp/versions.ts';
import { EVENTS_TYPE, JSON_TYPE, accepts, isJson } from '../../core/media.ts';
import { type Exchange, invalid } from '../exchange.ts';
import { legacyDelete, legacyGet, legacyPost, statelessPost } from './legacy-face.ts';
import { modernPost } from './modern-face.ts';

export interface ParsedMessage {
  readonly kind: MessageKind;
  readonly message: Message;
  readonly payload: Uint8Array;
}

export async function serveStreamable(exchange: Exchange): Promise<void> {
  const { request } = exchange;
  const version = request.header(VERSION_HEADER);
  const modern = version !== undefined && isModernVersion(version);
  if (request.method === 'POST') return post(exchange);
  const sessionless = modern || exchange.world.stateless;
  if (request.method === 'GET' && !sessionless) return legacyGet(exchange);
  if (request.method === 'DELETE' && !sessionless) return legacyDelete(exchange);
  exchange.response.send(405, { allow: sessionless ? 'POST' : 'GET, POST, DELETE' });
  exchange.done(405);
}

async function post(exchange: Exchange): Promise<void> {
  const { request } = exchange;
  if (!accepts(request.header('accept'), [JSON_TYPE, EVENTS_TYPE])) {
    return exchange.refuse(invalid(406, `Not Acceptable: Accept must list ${JSON_TYPE} and ${EVENTS_TYPE}`));
  }
  const parsed = await readMessage(exchange);
  if (parsed === undefined) return;
  exchange.trace(traceparentOf(parsed.message));
  const era = eraOf(parsed.message, parsed.kind, (name) => request.header(name));
  if (era === 'modern') return modernPost(exchange, parsed);
  return exchange.world.stateless ? statelessPost(exchange, parsed) : legacyPost(exchange, parsed);
}

/** The message in the body, admitted; undefined when the request was answered. */
export async function readMessage(exchange: Exchange): Promise<ParsedMessage | undefined> {
  const parsed = await parse(exchange);
  if (parsed instanceof Fault) return void exchange.refuse(parsed);
  exchange.message = parsed.message;
  const { applyRequest } = exchange.world.chain;
  return applyRequest === undefined || parsed.kind !== 'request' ? parsed : admitted(exchange, parsed, applyRequest);
}

async function parse({ request, deps }: Exchange): Promise<ParsedMessage | Fault> {
  if (!isJson(request.header('content-type'))) return invalid(415, `Unsupported Media Type: Content-Type must be ${JSON_TYPE}`);
  let payload: Uint8Array;
  try {
    payload = await request.body(deps.bodyBytesMax);
  } catch (error) {
    return error instanceof Fault ? error : invalid(400, 'the body cannot be read');
  }
  let value: unknown;
  try {
    value = parseJson(payload);
  } catch {
    return invalid(400, 'Parse error: the body is not valid JSON', CODE.parse);
  }
  const kind = kindOf(value);
  if (kind === undefined) return invalid(400, 'Invalid Request: the body must be one JSON-RPC 2.0 message', CODE.invalidRequest);
  // Whoever looked into it judged what it says to one reader: it goes on as that, written anew.
  return { kind, message: value as Message, payload: request.lookedInto ? encode(value) : payload };
}

/** What was judged goes on as it was read, written anew: a second key of the same name is nobody's loophole. */
function admitted(exchange: Exchange, { kind, message }: ParsedMessage, applyRequest: NonNullable<Chain['applyRequest']>): ParsedMessage | undefined {
  const request = message as Request;
  const no = applyRequest(request, exchange.request, exchange.facts);
  if (no !== undefined) return void exchange.obey(no, request);
  return { kind, message, payload: encode(message) };
}

/** MCP 2026-07-28 "Trace context": W3C traceparent, unprefixed, in `_meta`. */
function traceparentOf(message: Message): string | undefined {
  const parent = 'params' in message ? message.params?._meta?.['traceparent'] : undefined;
  return typeof parent === 'string' ? parent : undefined;
}
