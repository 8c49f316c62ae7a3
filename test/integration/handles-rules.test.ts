/** Handles and rules at once: a list is cut by who asks and paged by cursors that only the asker can use, at one server or two, in both eras and without a session. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { MOODS } from '../fixtures/misbehaving/moods.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { LEGACY, initializeOf, modernOf, note, rpc, send, type Headers, type Told } from '../world/wire.ts';

const ALICE = { authorization: 'Bearer alice-0f4c7a9e2b' };
const MALLORY = { authorization: 'Bearer mallory-77d1e05b3c' };
const PAGE = 5;
const RULES = ['apiKey.all', 'mcp.tool.name == "echo"', { deny: 'mcp.tool.name == "flood" || (mcp.tool.target == "b" && mcp.tool.name == "huge")' }];

let paged: MisbehavingHttp;
let parley: ParleyWorld;
let base: string;

beforeAll(async () => {
  paged = await startMisbehaving({ era: 'both', pageSize: PAGE });
  const target = (name: string) => ({ name, mcp: { host: paged.url } });
  const route = (name: string, statefulMode: string, targets: readonly object[]) => ({
    name, matches: [{ path: { exact: `/${name}` } }], policies: { mcpAuthorization: { rules: RULES } }, backends: [{ mcp: { targets, statefulMode } }],
  });
  const routes = ['stateful', 'stateless'].flatMap((mode) => [route(`${mode}-one`, mode, [target('a')]), route(`${mode}-two`, mode, [target('a'), target('b')])]);
  const keys = [ALICE, MALLORY].map((who) => ({ key: who.authorization.slice('Bearer '.length), metadata: { all: who === ALICE } }));
  parley = await startParley({ config: { binds: [{ port: await freePort(), listeners: [{ policies: { apiKey: { mode: 'strict', keys } }, routes }] }] } });
  base = parley.url.replace('/mcp', '');
});
afterAll(async () => {
  await parley?.stop();
  await paged?.close();
});

type Ask = (cursor?: string) => Promise<Told>;
interface Page {
  readonly tools: readonly { readonly name: string }[];
  readonly nextCursor?: string;
}

const paramsOf = (cursor: string | undefined): Record<string, unknown> => (cursor === undefined ? {} : { cursor });

/** Asks for pages as one who may. */
const askers = {
  legacy: async (url: string, who: Headers): Promise<Ask> => {
    const { headers } = await send(url, { headers: who, body: initializeOf(LEGACY) });
    const within = { ...who, 'mcp-session-id': String(headers['mcp-session-id']), 'mcp-protocol-version': LEGACY };
    await send(url, { headers: within, body: note('notifications/initialized') });
    return (cursor) => send(url, { headers: within, body: rpc('tools/list', paramsOf(cursor)) });
  },
  modern: async (url: string, who: Headers): Promise<Ask> => (cursor) => send(url, modernOf('tools/list', { headers: who, params: paramsOf(cursor) })),
  sessionless: async (url: string, who: Headers): Promise<Ask> => (cursor) => send(url, { headers: who, body: rpc('tools/list', paramsOf(cursor)) }),
};

/** The names on all pages. @param stray what is done with each cursor meanwhile. */
async function read(ask: Ask, stray?: (cursor: string) => Promise<void>): Promise<string[]> {
  const names: string[] = [];
  let cursor: string | undefined;
  do {
    const { json } = await ask(cursor);
    if (json?.result === undefined) throw new Error('the list was not answered');
    const { tools, nextCursor } = json.result as unknown as Page;
    names.push(...tools.map(({ name }) => name));
    cursor = nextCursor;
    if (cursor !== undefined) await stray?.(cursor);
  } while (cursor !== undefined);
  return names.toSorted();
}

/** All a client can tell two answers apart by. */
function answerOf({ status, headers, text }: Told): unknown {
  const { date: _clock, ...rest } = headers;
  return { status, headers: rest, text };
}

describe.each([
  ['/stateful-one', 'legacy'],
  ['/stateful-one', 'modern'],
  ['/stateful-two', 'legacy'],
  ['/stateful-two', 'modern'],
  ['/stateless-one', 'sessionless'],
  ['/stateless-two', 'sessionless'],
] as const)('a list under rules at %s, for a %s client', (path, era) => {
  const shown = (ofA: readonly string[], ofB: readonly string[]): string[] => (path.endsWith('-two') ? [...ofA.map((name) => `a_${name}`), ...ofB.map((name) => `b_${name}`)] : [...ofA]).toSorted();
  const calm = MOODS.filter((mood) => mood !== 'flood');

  test('is cut on every page, by who asks, and its cursor is of use to nobody else', async () => {
    const [alice, mallory] = [await askers[era](base + path, ALICE), await askers[era](base + path, MALLORY)];
    const unknown = answerOf(await mallory('nonsense'));
    expect(JSON.stringify(unknown)).toContain('the cursor is not one of ours');
    const from = paged.seen.length;
    let strayed = 0;
    const all = await read(alice, async (cursor) => {
      strayed += 1;
      expect(answerOf(await mallory(cursor))).toEqual(unknown);
    });
    expect(strayed).toBe(Math.ceil(MOODS.length / PAGE) - 1);
    expect(all).toEqual(shown(calm, calm.filter((mood) => mood !== 'huge')));
    expect(await read(mallory)).toEqual(shown(['echo'], ['echo']));
    const reached = paged.seen.slice(from).flatMap(({ rpc: heard }) => (heard?.method === 'tools/list' ? [heard.params?.['cursor']] : []));
    expect(new Set(reached)).toEqual(new Set([undefined, '5', '10', '15', '20']));
  });
});
