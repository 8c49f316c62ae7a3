/** A client that reads a list to its end and calls tools, in either era: for tests of which tools there are. */
import type { Response } from '#protocol/mcp/message.ts';
import { callOf, type EventStream, type Headers, modernOf, openLegacy, openStream, rpc, sendModern } from './wire.ts';

export interface ToolClient {
  list(): Promise<{ readonly name: string; readonly description: string }[]>;
  call(name: string): Promise<Response | undefined>;
}

export type Era = 'legacy' | 'modern';

/** What a client on this machine names, whatever address it is told. */
export const HERE: Headers = { host: 'localhost' };

export async function connectTools(url: string, era: Era, more: Headers = {}): Promise<ToolClient> {
  const headers = { ...HERE, ...more };
  if (era === 'modern') {
    return {
      list: () => pages(async (params) => (await sendModern(url, 'tools/list', { params, headers })).json),
      call: async (name) => (await sendModern(url, 'tools/call', { name, params: { arguments: {} }, headers })).json,
    };
  }
  const session = await openLegacy(url);
  return {
    list: () => pages(async (params) => (await session.send(rpc('tools/list', params, crypto.randomUUID()), headers)).json),
    call: async (name) => (await session.send(callOf(name, {}, crypto.randomUUID()), headers)).json,
  };
}

export const namesOf = async (client: ToolClient): Promise<string[]> => (await client.list()).map(({ name }) => name);

/** The error of a tool that is not there. */
export const unknownTool = (name: string) => ({ code: -32_602, message: `Unknown tool: ${name}` });

/** Hears of changed lists. */
export async function listenForTools(url: string, era: Era): Promise<EventStream> {
  if (era === 'legacy') return openStream(url, { headers: (await openLegacy(url)).headers });
  const stream = await openStream(url, { method: 'POST', ...modernOf('subscriptions/listen', { params: { notifications: { toolsListChanged: true } }, id: 'l' }) });
  await stream.event(({ data }) => data.includes('acknowledged'));
  return stream;
}

/** All pages of a list, as a client that is thorough reads them. */
async function pages(page: (params: object) => Promise<Response | undefined>): ReturnType<ToolClient['list']> {
  const found: { name: string; description: string }[] = [];
  for (let cursor: unknown; ; ) {
    const answer = await page(cursor === undefined ? {} : { cursor });
    if (answer?.result === undefined) throw new Error(JSON.stringify(answer?.error));
    found.push(...(answer.result['tools'] as typeof found));
    cursor = answer.result['nextCursor'];
    if (cursor === undefined) return found;
  }
}
