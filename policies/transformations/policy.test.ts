import { describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { type Facts, NO_FACTS, type PolicyCall, type Verdict } from '../policy.ts';
import { type RequestEdit, editRequest } from '../request-edits.ts';
import { type ResponseHead, editResponse } from '../response-edits.ts';
import { READ_BYTES_MAX } from '../rules/request-body.ts';
import { transformations } from './policy.ts';

const problemsOf = (config: unknown): string[] =>
  (transformations.schema.safeParse(config).error?.issues ?? []).map((issue) => `${issue.path.join('.')}: ${issue.code === 'invalid_key' ? issue.issues[0]?.message : issue.message}`);

const chainOf = (config: object) => compileChain({ transformations: config }, 'route', depsWith());

const saying = (text: string | Uint8Array): Pick<PolicyCall, 'prefix'> => {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  return { prefix: async (max) => ({ bytes: bytes.subarray(0, max), complete: bytes.length <= max }) };
};

interface Came {
  readonly call?: Partial<PolicyCall>;
  readonly facts?: Facts;
}

const judged = async (config: object, { call = {}, facts = NO_FACTS }: Came = {}): Promise<Verdict> => chainOf(config).apply(callWith(call), facts);

/** The request as it goes on. */
async function request(config: object, came: Came = {}) {
  const verdict = await judged({ request: config }, came);
  if (verdict.kind !== 'rewrite') throw new Error(`it does not go on: ${JSON.stringify(verdict)}`);
  const { content, headers, ...line } = editRequest({ ...callWith(came.call), written: new Set() }, verdict.requestEdits as readonly RequestEdit[]);
  return { ...line, headers, metadata: verdict.facts?.metadata, body: content === undefined ? undefined : new TextDecoder().decode(content) };
}

interface Made {
  readonly status?: number;
  readonly headers?: ResponseHead['headers'];
  readonly body?: string;
}

/** The response as it is sent. */
function response(config: object, { status = 200, headers = {}, body }: Made = {}, { call = {}, facts = NO_FACTS }: Came = {}) {
  const head: ResponseHead = { status, headers, ...(body === undefined ? {} : { body: new TextEncoder().encode(body) }) };
  const edits = (chainOf(config).responding ?? []).flatMap((apply) => apply(head, callWith(call), facts));
  const sent = editResponse(head, edits);
  return { ...sent, body: sent.body === undefined ? undefined : new TextDecoder().decode(sent.body), learned: edits.flatMap((edit) => (edit.kind === 'learn' ? [edit.metadata] : []))[0] };
}

describe('the headers of a request', () => {
  test('are added to, set, and removed, in this order, and each expression sees what the ones before made', async () => {
    const headers = { 'x-a': '1', 'x-gone': 'x' };
    const now = await request({ add: { 'X-A': '"2"' }, set: { 'x-b': 'request.headers["x-a"]', 'x-c': 'request.headers["x-b"] + "!"' }, remove: ['X-Gone'] }, { call: { headers } });
    expect(now.headers).toEqual({ 'x-a': '1, 2', 'x-b': '1, 2', 'x-c': '1, 2!' });
  });

  test.each(['jwt.nobody', '"line\\nbreak"', '["a"]', 'null'])('lose the one whose expression makes nothing of use: %s', async (source) => {
    expect((await request({ set: { 'x-a': source } }, { call: { headers: { 'x-a': 'of the client' } } })).headers).toEqual({});
    expect((await request({ add: { 'x-a': source } }, { call: { headers: { 'x-a': 'of the client' } } })).headers).toEqual({});
  });

  test('may all be replaced, those of the connection aside', async () => {
    const headers = { 'x-a': '1', 'x-b': '2', host: 'gw.test', 'content-length': '7' };
    const now = await request({ replace: '{"X-C": ["1", "2"], "x-n": 3, ":path": "/b", "host": "evil.test"}', set: { 'x-d': '"4"' } }, { call: { headers } });
    expect([now.headers, now.path]).toEqual([{ host: 'gw.test', 'content-length': '7', 'x-c': '1, 2', 'x-n': '3', 'x-d': '4' }, '/mcp']);
  });

  test.each(['jwt.nobody', '"no map"', '["x"]'])('stay where the expression for all of them fails: %s', async (replace) => {
    expect((await request({ replace }, { call: { headers: { 'x-a': '1' } } })).headers).toEqual({ 'x-a': '1' });
  });

  test('hold the credential that is meant for a server, and metadata does not', async () => {
    const now = await request({ metadata: { token: 'request.headers["x-api-key"]' }, set: { authorization: '"Bearer " + request.headers["x-api-key"]' } }, { call: { headers: { 'x-api-key': 'planted-value' } } });
    expect([now.headers['authorization'], now.metadata]).toEqual(['Bearer planted-value', { token: '<redacted>' }]);
  });
});

test('path, method, host and scheme are set as pseudo-headers', async () => {
  const now = await request({ set: { ':path': '"/b?x=1?"', ':method': '"PUT"', ':authority': '"b.test:81"', ':scheme': '"https"' } }, { call: { query: 'old=1' } });
  expect(now).toMatchObject({ path: '/b', query: 'x=1?', method: 'PUT', host: 'b.test:81', scheme: 'https' });
  expect((await request({ set: { Host: '"c.test"' } })).host).toBe('c.test');
});

test.each([
  [':path', '"no slash"'],
  [':path', '"/a b"'],
  [':path', '"/a#b"'],
  [':method', '"GET / HTTP/1.1"'],
  [':authority', '"a/b"'],
  [':scheme', '"ftp"'],
  [':path', 'jwt.nobody'],
])('%s stays as it is where %s is none', async (name, source) => {
  const [before, after] = [await request({}), await request({ set: { [name]: source } })];
  expect(after).toEqual(before);
});

describe('metadata', () => {
  test('is known to the expressions after it, to later policies, and beside what was known', async () => {
    const now = await request({ metadata: { a: 'jwt.sub + "!"', b: 'metadata.a + metadata.before', c: 'jwt.nobody' }, set: { 'x-a': 'metadata.b' } }, { facts: { jwt: { sub: 'ada' }, metadata: { before: '?' } } });
    expect([now.headers, now.metadata]).toEqual([{ 'x-a': 'ada!?' }, { before: '?', a: 'ada!', b: 'ada!?' }]);
  });

  test('of a response is known to it, beside that of the request, and is learned', () => {
    expect(response({ response: { metadata: { b: 'metadata.a + string(response.code)' }, set: { 'x-b': 'metadata.b' } } }, {}, { facts: { metadata: { a: 'x' } } })).toMatchObject({ headers: { 'x-b': 'x200' }, learned: { b: 'x200' } });
  });
});

describe('the body of a request', () => {
  test('is what its expression makes of it, with a length that is true', async () => {
    const call = { headers: { 'content-type': 'text/plain', 'content-length': '13', 'content-encoding': 'identity' }, ...saying('{"name":"ada"}') };
    expect(await request({ body: '"hello " + json(request.body).name' }, { call })).toMatchObject({ body: 'hello ada', headers: { 'content-type': 'text/plain', 'content-length': '9' } });
    expect(await request({ body: 'json(request.body).merge({"n": 1})' }, { call })).toMatchObject({ body: '{"name":"ada","n":1}', headers: { 'content-type': 'application/json' } });
    expect(await request({ set: { 'content-type': '"application/x"' }, body: '{"n": 1}' }, { call })).toMatchObject({ headers: { 'content-type': 'application/x' } });
  });

  test('is read for a header that is made of it, and stays', async () => {
    expect(await request({ set: { 'x-name': 'json(request.body).name' } }, { call: saying('{"name":"ada"}') })).toMatchObject({ headers: { 'x-name': 'ada' }, body: undefined });
  });

  test('is read up to a limit, and denied past it', async () => {
    const config = { request: { body: 'string(size(request.body))' } };
    const [fits, long] = [new Uint8Array(READ_BYTES_MAX), new Uint8Array(READ_BYTES_MAX + 1)];
    expect(await judged(config, { call: saying(fits) })).toMatchObject({ kind: 'rewrite' });
    expect(await judged(config, { call: saying(long) })).toMatchObject({ kind: 'deny', status: 413, reason: 'transformations/too-large' });
  });

  test('that cannot be made, or breaks off, ends the call', async () => {
    expect(await judged({ request: { body: 'json(request.body).name' } }, { call: saying('no JSON') })).toMatchObject({ kind: 'deny', status: 400, reason: 'transformations/body' });
    const broken = { prefix: () => Promise.reject(new Fault('invalid', 'the body broke off', { status: '400' })) };
    expect(await judged({ request: { body: 'request.body' } }, { call: broken })).toMatchObject({ kind: 'deny', status: 400, message: 'the body broke off' });
  });
});

describe('a response', () => {
  test('has its status and headers changed', () => {
    const config = { response: { set: { ':status': 'response.code + 1', 'x-was': 'response.headers["x-a"]', 'x-path': 'request.path' }, remove: ['x-a'] } };
    expect(response(config, { headers: { 'x-a': '1' } })).toMatchObject({ status: 201, headers: { 'x-was': '1', 'x-path': '/mcp' } });
    expect(response({ response: { set: { ':status': '"200"' } } }, { status: 404 }).status).toBe(404);
    expect(response({ response: { set: { ':status': '101' } } }, { status: 404 }).status).toBe(404);
  });

  test('has another body, where there is one', () => {
    const config = { response: { body: '{"was": string(response.body), "code": response.code}' } };
    expect(response(config, { headers: { 'content-length': '1' }, body: 'x' })).toMatchObject({ body: '{"was":"x","code":200}', headers: { 'content-type': 'application/json' } });
    expect(response(config, {})).toMatchObject({ status: 200, body: undefined });
  });

  test('whose body cannot be made is no response', () => {
    expect(response({ response: { body: 'json(response.body).x' } }, { body: 'no JSON' })).toMatchObject({ status: 502, headers: { 'content-type': 'text/plain' }, body: 'the body could not be transformed' });
  });

  test('is asked for as it can be read, where its body is asked for', async () => {
    const accepts = async (config: object): Promise<unknown> => {
      const verdict = await judged(config, { call: { headers: { 'accept-encoding': 'gzip' } } });
      return verdict.kind === 'rewrite' ? verdict.requestEdits : verdict.kind;
    };
    expect(await accepts({ response: { body: '"x"' } })).toEqual([{ kind: 'remove', header: 'accept-encoding' }]);
    expect(await accepts({ response: { set: { 'x-a': 'response.body' } } })).toEqual([{ kind: 'remove', header: 'accept-encoding' }]);
    expect(await accepts({ response: { set: { 'x-a': '"1"' } } })).toBe('pass');
    expect([chainOf({ response: { body: '"x"' } }).readsResponse, chainOf({ response: { set: { 'x-a': '"1"' } } }).readsResponse]).toEqual([true, false]);
  });
});

describe('of several transformations', () => {
  const conditional = [
    { condition: 'request.headers["x-team"] == "blue"', request: { set: { 'x-for': '"blue"' } }, response: { set: { 'x-from': '"blue"' } } },
    { request: { set: { 'x-for': '"all"' } } },
  ];

  test('the first whose condition is true is it, for the request and for the response', async () => {
    const headersOf = async (team: string | undefined): Promise<unknown> => {
      const verdict = await judged({ conditional }, { call: { headers: team === undefined ? {} : { 'x-team': team } } });
      return verdict.kind === 'rewrite' ? verdict.requestEdits : verdict.kind;
    };
    expect(await headersOf('blue')).toEqual([{ kind: 'set', header: 'x-for', value: 'blue' }]);
    expect(await headersOf('red')).toEqual([{ kind: 'set', header: 'x-for', value: 'all' }]);
    expect(await headersOf(undefined)).toEqual([{ kind: 'set', header: 'x-for', value: 'all' }]);
    expect(response({ conditional }, {}, { call: { headers: { 'x-team': 'blue' } } }).headers).toEqual({ 'x-from': 'blue' });
    expect(response({ conditional }).headers).toEqual({});
  });

  test('none is, where no condition is true; one that fails says neither', async () => {
    const only = { conditional: conditional.slice(0, 1) };
    expect(await judged(only, { call: { headers: { 'x-team': 'red' } } })).toEqual({ kind: 'pass' });
    expect(await judged(only)).toMatchObject({ kind: 'deny', status: 500, reason: 'transformations/condition' });
    expect(response(only).headers).toEqual({});
  });
});

test.each([
  [{ request: { set: { 'x-a': 'nobody' } } }, 'request.set.x-a: line 1, column 1 of the expression: '],
  [{ request: { set: { 'content-length': '1' } } }, 'request.set.content-length: expected the name of a header that is not the connection\'s own, or one of :method, :path, :authority, :scheme'],
  [{ request: { set: { ':status': '200' } } }, 'request.set.:status: expected the name'],
  [{ request: { set: { 'x-a': 'response.code' } } }, 'request.set.x-a: line 1, column 1 of the expression: '],
  [{ response: { set: { ':path': '"/"' } } }, 'response.set.:path: expected the name'],
  [{ response: { set: { 'x-a': 'request.body' } } }, 'response.set.x-a: request.body is not kept for the response'],
  [{ request: { remove: ['host'] } }, 'request.remove.0: this header belongs to the connection'],
  [{ conditional: [] }, 'conditional: at least one entry is needed'],
  [{ conditional: [{}, { condition: 'true' }] }, 'conditional.0: an entry without a condition always fits'],
  [{ conditional: [{ condition: 'request.body == "x"' }] }, 'conditional.0.condition: request.body cannot be used here'],
  [{ conditional: [{}], request: {} }, 'request: not allowed beside conditional'],
  [{ request: { set: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`x-${n}`, '""'])) } }, 'request.set: at most 64 entries'],
])('%j is refused', (config, problem) => {
  expect(problemsOf(config)[0]).toContain(problem);
});
