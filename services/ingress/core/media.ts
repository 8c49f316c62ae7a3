/** Content types a client sends and accepts (MCP "Streamable HTTP", sending messages). */

export const JSON_TYPE = 'application/json';
export const EVENTS_TYPE = 'text/event-stream';

export const isJson = (contentType: string | undefined): boolean => essence(contentType ?? '') === JSON_TYPE;

/** Whether an Accept header lists every one of the types, by name or by wildcard. */
export function accepts(accept: string | undefined, types: readonly string[]): boolean {
  if (accept === undefined) return false;
  const ranges = accept.split(',').map(essence);
  return types.every((type) => ranges.some((range) => range === '*/*' || range === type || range === `${type.slice(0, type.indexOf('/'))}/*`));
}

const essence = (value: string): string => (value.split(';', 1)[0] ?? '').trim().toLowerCase();
