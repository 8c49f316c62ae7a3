/** Servers that ask who we are, and credentials that cannot be had. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startMisbehaving, type MisbehavingHttp, type MisbehavingOptions } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { callModern, callOf, initializeOf, note, openLegacy, openStream, send, sendModern, textOf } from '../world/wire.ts';

const ENV = { A_KEY: 'planted-key', OTHER_KEY: 'planted other' };

let folder: string;
let nats: NatsWorld;
const opened: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  [nats, folder] = await Promise.all([startNats(), mkdtemp(join(tmpdir(), 'parley-credentials-'))]);
});
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.stop();
});
afterAll(async () => {
  await nats?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function serve(options: MisbehavingOptions): Promise<MisbehavingHttp> {
  const server = await startMisbehaving(options);
  opened.push({ stop: () => server.close() });
  return server;
}

async function gateway(server: MisbehavingHttp, backendAuth: object): Promise<ParleyWorld> {
  const parley = await startParley({ nats, env: ENV, config: { mcp: { targets: [{ name: 'files', mcp: { host: server.url }, policies: { backendAuth } }] } } });
  opened.push(parley);
  return parley;
}

/** What a client of either era gets from the tool `echo`. */
async function both(url: string): Promise<void> {
  const session = await openLegacy(url);
  expect(await session.call('echo', { message: 'legacy' })).toBe('legacy');
  expect((await session.end()).status).toBe(204);
  expect(await callModern(url, 'echo', { message: 'modern' })).toBe('modern');
}

describe('a key', () => {
  test.each<[string, object, (headers: Record<string, unknown>, path: string) => boolean]>([
    ['as a bearer token', { key: '$A_KEY' }, ({ authorization }) => authorization === 'Bearer planted-key'],
    ['in a header of its own', { key: { value: '$A_KEY', location: { header: { name: 'X-Api-Key' } } } }, (headers) => headers['x-api-key'] === 'planted-key'],
    ['in the query', { key: { value: '$OTHER_KEY', location: { queryParameter: { name: 'key' } } } }, (_, path) => path === '/mcp?key=planted%20other'],
    ['in a cookie', { key: { value: '$A_KEY', location: { cookie: { name: 'k' } } } }, ({ cookie }) => cookie === 'k=planted-key'],
    [
      'with others beside it',
      { key: '$A_KEY', credentials: [{ location: { header: { name: 'x-other' } }, key: '$OTHER_KEY' }, { location: { cookie: { name: 'a' } }, key: '$A_KEY' }] },
      (headers) => headers['authorization'] === 'Bearer planted-key' && headers['x-other'] === 'planted other' && headers['cookie'] === 'a=planted-key',
    ],
  ])('goes %s with every request of either era', async (_, auth, admits) => {
    const server = await serve({ admits: ({ headers, url = '' }) => admits(headers, url) });
    await both((await gateway(server, auth)).url);
    expect(server.seen.filter(({ http }) => http === 'DELETE')).not.toEqual([]);
  });

  test('in a file counts as it is now, and a file that is not there ends the call in words', async () => {
    const file = join(folder, 'key.txt');
    let wanted = 'first';
    const server = await serve({ admits: ({ headers }) => headers.authorization === `Bearer ${wanted}` });
    const { url } = await gateway(server, { key: { file } });
    const echo = () => sendModern(url, 'tools/call', { name: 'echo', params: { arguments: { message: 'm' } } });
    expect((await echo()).json?.error).toEqual({ code: -32_603, message: `files: backendAuth.key: the file ${file} cannot be read: there is no such file` });
    expect(server.seen).toEqual([]);
    await writeFile(file, 'first\n');
    expect((await echo()).json?.result).toBeDefined();
    wanted = 'second';
    await writeFile(file, 'second\n');
    await eventually('the new key to be used', async () => (await echo()).json?.result);
  });
});

describe('a token we sign', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const tokenOf = ({ headers }: Pick<IncomingMessage, 'headers'>): string => headers.authorization?.replace(/^Bearer /, '') ?? '';

  test('is verified by the server, has the claims that are written, and is made once while it is good', async () => {
    const tokens = new Set<string>();
    const server = await serve({
      admits: async (request) => {
        tokens.add(tokenOf(request));
        const { payload, protectedHeader } = await jwtVerify(tokenOf(request), publicKey, { audience: 'files', issuer: 'parley', maxTokenAge: '5m' });
        return payload['team'] === 'blue' && protectedHeader.kid === 'k1' && payload.exp === (payload.iat ?? 0) + 300;
      },
    });
    const file = join(folder, 'signing.pem');
    await writeFile(file, pem);
    await both((await gateway(server, { jwtSign: { signingKey: { file }, alg: 'ES256', kid: 'k1', claims: { iss: 'parley', aud: 'files', team: 'blue' } } })).url);
    expect(tokens.size).toBe(1);
  });

  test.each([
    ['is no key', 'planted-no-key', 'no private key that can be used (PEM)'],
    ['is of another kind', pem, 'no private key for RS256'],
  ])('with a key that %s ends the call in words, and nothing is asked without it', async (_, signingKey, words) => {
    const server = await serve({});
    const { url } = await gateway(server, { jwtSign: { signingKey } });
    expect((await sendModern(url, 'tools/call', { name: 'echo' })).json?.error).toEqual({ code: -32_603, message: `files: backendAuth.jwtSign.signingKey: this is ${words}` });
    expect(server.seen).toEqual([]);
  });
});

describe('the token of the caller', () => {
  const TOKEN = 'planted-token-of-the-caller';
  const headers = { authorization: `Bearer ${TOKEN}` };
  const admits = (request: Pick<IncomingMessage, 'headers'>): boolean => request.headers.authorization === headers.authorization;

  async function session(url: string): Promise<Record<string, string>> {
    const { headers: answered } = await send(url, { headers, body: initializeOf() });
    const own = { ...headers, 'mcp-session-id': String(answered['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
    await send(url, { headers: own, body: note('notifications/initialized') });
    return own;
  }

  test('goes on to the server with everything that belongs to the call, in both eras', async () => {
    const server = await serve({ admits });
    const { url } = await gateway(server, { passthrough: {} });
    const own = await session(url);
    expect(textOf((await send(url, { headers: own, body: callOf('echo', { message: 'legacy' }) })).json)).toBe('legacy');
    const stream = await openStream(url, { headers: own });
    await server.saw(({ http }) => http === 'GET');
    expect((await send(url, { method: 'DELETE', headers: own })).status).toBe(204);
    await server.saw(({ http }) => http === 'DELETE');
    await stream.cut();
    expect(textOf((await sendModern(url, 'tools/call', { name: 'echo', headers, params: { arguments: { message: 'modern' } } })).json)).toBe('modern');
    expect(server.seen.filter((seen) => !admits(seen))).toEqual([]);
  });

  test('is missed in words, and then the server is not asked', async () => {
    const server = await serve({});
    const { url } = await gateway(server, { passthrough: {} });
    const words = 'files is asked with a token of the caller, and none came with the call';
    expect((await sendModern(url, 'tools/call', { name: 'echo' })).json?.error).toEqual({ code: -32_603, message: words });
    await expect(openLegacy(url)).rejects.toThrow(words);
    expect(server.seen).toEqual([]);
  });

  test('of a request without a session (stateless) goes with all of it', async () => {
    const server = await serve({ admits });
    const targets = [{ name: 'files', mcp: { host: server.url }, policies: { backendAuth: { passthrough: { location: { header: { name: 'authorization', prefix: 'Bearer ' } } } } } }];
    const parley = await startParley({ nats, config: { mcp: { statefulMode: 'stateless', targets } } });
    opened.push(parley);
    expect(textOf((await send(parley.url, { headers, body: callOf('echo', { message: 'once' }) })).json)).toBe('once');
  });

  test('opens the upstreams of a session again when its connector leaves, and goes on with what belongs to the session', async () => {
    const server = await serve({ admits });
    const env = { SESSION_KEY: 'ab'.repeat(32) };
    const config = { config: { session: { key: '$SESSION_KEY' } }, mcp: { targets: [{ name: 'files', mcp: { host: server.url }, policies: { backendAuth: { passthrough: {} } } }] } };
    const front = await startParley({ nats, env, config, services: ['policy', 'session', 'ingress'] });
    opened.push(front);
    const first = await startParley({ nats, env, services: ['connector'] });
    const own = await session(front.url);
    const second = await startParley({ nats, env, services: ['connector'] });
    opened.push(second);
    await first.stop();
    const from = server.seen.length;
    expect(textOf((await send(front.url, { headers: own, body: callOf('echo', { message: 'moved' }) })).json)).toBe('moved');
    server.forget();
    expect(textOf((await send(front.url, { headers: own, body: callOf('echo', { message: 'forgotten' }, 2) })).json)).toBe('forgotten');
    expect((await send(front.url, { method: 'DELETE', headers: own })).status).toBe(204);
    await server.saw((seen) => server.seen.indexOf(seen) >= from && seen.http === 'DELETE');
    expect(server.seen.filter((seen) => !admits(seen))).toEqual([]);
  });

  test('is opened by no connector that has another key, and passed by a shared one', async () => {
    const server = await serve({ admits });
    const config = (key: string | undefined) => ({ ...(key === undefined ? {} : { config: { session: { key } } }), mcp: { targets: [{ name: 'files', mcp: { host: server.url }, policies: { backendAuth: { passthrough: {} } } }] } });
    const behind = await startParley({ nats, config: config('$SESSION_KEY'), env: { SESSION_KEY: 'ab'.repeat(32) }, services: ['policy', 'session', 'connector'] });
    opened.push(behind);
    const fronts = await Promise.all(['ab', 'cd'].map((byte) => startParley({ nats, services: ['ingress'], env: { SESSION_KEY: byte.repeat(32), PARLEY_BIND: byte === 'ab' ? '127.0.0.1' : '127.0.0.2' } })));
    opened.push(...fronts);
    const port = behind.host.generations.current?.binds[0]?.port;
    const ask = (host: string) => sendModern(`http://${host}:${port}/mcp`, 'tools/call', { name: 'echo', headers: { ...headers, host: 'localhost' }, params: { arguments: { message: 'far' } } });
    expect(textOf((await eventually('ingress', () => ask('127.0.0.1'))).json)).toBe('far');
    expect((await eventually('ingress', () => ask('127.0.0.2'))).json?.error?.message).toMatch(/^the token of the caller cannot be used here: ingress and connector need the same session key/);
  });
});
