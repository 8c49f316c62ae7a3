/** Content types a client sends and accepts (MCP "Streamable HTTP", sending messages). */

export const JSON_TYPE = 'application/json';
export const EVENTS_TYPE = 'text/event-stream';

export const isJson = (contentType: string | undefined): boolean => essence(contentType ?? '') === JSON_TYPE;

/** What the SDKs send with every POST: it lists all there is, and need not be taken apart. */
const USUAL = `${JSON_TYPE}, ${EVENTS_TYPE}`;

/** Whether an Accept header lists every one of the types, by name or by wildcard. */
export function accepts(accept: string | undefined, types: readonly string[]): boolean {
  return accept === USUAL || (accept !== undefined && acceptsByRange(accept, types));
}

function acceptsByRange(accept: string, types: readonly string[]): boolean {
  const ranges = accept.split(',').map(essence);
  return types.every((type) => ranges.some((range) => range === '*/*' || range === type || range === `${type.slice(0, type.indexOf('/'))}/*`));
}

const essence = (value: string): string => (value.split(';', 1)[0] ?? '').trim().toLowerCase();
