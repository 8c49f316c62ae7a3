/** What expressions make of requests and responses, and what is written down of them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { type HttpBackendFixture, startHttpBackend } from '../fixtures/http-backend.ts';
import { listeningLog } from '../world/log.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callOf, modernOf, openLegacy, openStream, send } from '../world/wire.ts';

const { log, heard } = listeningLog();
let everything: Everything;
let server: HttpBackendFixture;
let parley: ParleyWorld;
let base: string;

const accessLog = {
  add: { team: 'request.headers["x-team"]', said: 'mcp.tool.arguments.message', shown: 'request.headers["authorization"]', meta: 'metadata' },
  remove: ['http.version'],
};

/** Of the gateway: clients of an older address, and who they are. */
const early = { request: { metadata: { team: 'default(request.headers["x-team"], "nobody")' }, set: { ':path': 'request.pathAndQuery.replace("/old", "/mcp")' } }, response: { set: { 'x-gateway': '"parley"', 'x-team': 'metadata.team' } } };

/** Of the route: what loud clients say is said quietly. */
const late = {
  conditional: [
    { condition: 'default(request.headers["x-loud"], "no") == "yes"', request: { body: 'string(request.body).replace("LOUD", "quiet")' } },
    { condition: 'default(request.headers["x-broken"], "no") == "yes"', request: { body: 'json(request.body).nothing' }, response: { metadata: { late: '"true"' }, body: '"sorry: " + string(response.body)' } },
  ],
};

/** Of a route to a server of plain HTTP: it has other paths, and speaks another way. */
const plain = {
  request: { set: { ':path': 'request.pathAndQuery.replace("/plain", "")' }, body: 'request.method == "POST" ? bytes("{" + string(request.body) + "}") : request.body' },
  response: { body: '"[" + string(response.body) + "]"', set: { 'x-was': 'string(size(response.body))' } },
};

beforeAll(async () => {
  [everything, server] = await Promise.all([startEverything(), startHttpBackend()]);
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  const targets = [{ name: 'only', mcp: { host: everything.url } }];
  parley = await startParley({
    log,
    config: {
      frontendPolicies: { accessLog },
      gateways: { default: { port, transformations: early } },
      mcp: { gateways: 'default', policies: { transformations: late }, targets },
      routes: [{ name: 'plain', matches: [{ path: { pathPrefix: '/plain' } }], policies: { transformations: plain }, backends: [{ host: server.host }] }],
    },
  });
});
afterAll(async () => {
  await parley.stop();
  await Promise.all([everything.close(), server.close()]);
});

/** The line that holds the words. */
const lineOf = async (words: string): Promise<unknown> => JSON.parse(await heard(words));

const say = (message: string, headers = {}) => modernOf('tools/call', { name: 'echo', params: { arguments: { message } }, headers });

describe('what is written down', () => {
  test('of a call of a tool is what it was about, in either era', async () => {
    await send(parley.url, say('of-today', { 'x-team': 'core', authorization: 'Bearer planted-value' }));
    const line = await lineOf('of-today');
    expect(line).toMatchObject({
      msg: 'request', gateway: 'default', route: 'mcp', 'http.status': 200, protocol: 'mcp', 'mcp.method.name': 'tools/call', 'mcp.target': 'only', 'gen_ai.tool.name': 'echo',
      team: 'core', said: 'of-today', shown: '<redacted>', 'meta.team': 'core',
    });
    expect(JSON.stringify(line)).not.toMatch(/planted-value|http\.version/);
    const session = await openLegacy(parley.url);
    await session.send(callOf('echo', { message: 'of-before' }));
    expect(await lineOf('of-before')).toMatchObject({ 'http.status': 200, 'gen_ai.tool.name': 'echo' });
    expect(await lineOf('"initialize"')).toMatchObject({ 'http.status': 200, 'mcp.method.name': 'initialize' });
  });

  test('of one that its server refuses is the error its client got', async () => {
    await send(parley.url, modernOf('tools/call', { name: 'nobody-has-it', params: { arguments: {} } }));
    expect(await lineOf('nobody-has-it')).toMatchObject({ 'http.status': 200, 'mcp.error.code': -32602, 'mcp.error.message': expect.stringContaining('nobody-has-it') });
  });
});

describe('what is transformed', () => {
  test('is the path a route is found by, and the head of every response', async () => {
    const { status, text, headers } = await send(`${base}/old`, say('hello', { 'x-team': 'core' }));
    expect([status, text.includes('hello'), headers['x-gateway'], headers['x-team']]).toEqual([200, true, 'parley', 'core']);
    const nowhere = await send(`${base}/nowhere`, { method: 'GET' });
    expect([nowhere.status, nowhere.headers['x-gateway'], nowhere.headers['x-team']]).toEqual([404, 'parley', 'nobody']);
  });

  test('is the message that MCP reads, and never its answer', async () => {
    const { status, text } = await send(parley.url, say('LOUD words', { 'x-loud': 'yes' }));
    expect([status, text]).toEqual([200, expect.stringContaining('quiet words')]);
  });

  test('is the body of a response that is no answer of MCP, which the log knows, too', async () => {
    const { status, text, headers } = await send(parley.url, say('anything', { 'x-broken': 'yes' }));
    expect([status, text, headers['x-gateway']]).toEqual([400, 'sorry: the body could not be transformed', 'parley']);
    expect(await lineOf('transformations/body')).toMatchObject({ 'http.status': 400, 'meta.late': 'true' });
  });
});

describe('plain HTTP', () => {
  test('is asked by another path with another body, and answers with another', async () => {
    const told = await send(`${base}/plain/echo`, { body: 'hello', headers: { 'content-type': 'text/plain' } });
    expect([told.status, told.text, told.headers['x-was'], told.headers['content-length']]).toEqual([200, '[{hello}]', '7', '9']);
    expect(await lineOf('/echo')).toMatchObject({ route: 'plain', 'http.status': 200, protocol: 'http' });
  });

  test('is changed in its head alone where it is a stream of events', async () => {
    const stream = await openStream(`${base}/plain/events`);
    expect([stream.status, stream.headers['x-gateway'], stream.headers['x-was']]).toEqual([200, 'parley', undefined]);
    await stream.cut();
  });

  test('is no answer where its body never ends', async () => {
    expect((await send(`${base}/plain/endless`, { method: 'GET' })).status).toBe(502);
  });
});
