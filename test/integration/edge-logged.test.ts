/** What is written down of requests, where a configuration asks for it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { listeningLog } from '../world/log.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { callOf, modernOf, openLegacy, send } from '../world/wire.ts';

const { log, heard } = listeningLog();
let everything: Everything;
let parley: ParleyWorld;

beforeAll(async () => {
  everything = await startEverything();
  const accessLog = { add: { team: 'request.headers["x-team"]', said: 'mcp.tool.arguments.message', shown: 'request.headers["authorization"]' }, remove: ['http.version'] };
  parley = await startParley({ log, config: { frontendPolicies: { accessLog }, mcp: { targets: [{ name: 'only', mcp: { host: everything.url } }] } } });
});
afterAll(async () => {
  await parley.stop();
  await everything.close();
});

/** The line that holds the words. */
const lineOf = async (words: string): Promise<unknown> => JSON.parse(await heard(words));

test('a call of a tool is written down in either era, with what it was about', async () => {
  await send(parley.url, modernOf('tools/call', { name: 'echo', params: { arguments: { message: 'of-today' } }, headers: { 'x-team': 'core', authorization: 'Bearer planted-value' } }));
  const line = await lineOf('of-today');
  expect(line).toMatchObject({
    msg: 'request', route: 'mcp', 'http.status': 200, protocol: 'mcp', 'mcp.method.name': 'tools/call', 'mcp.target': 'only', 'gen_ai.tool.name': 'echo', team: 'core', said: 'of-today', shown: '<redacted>',
  });
  expect(JSON.stringify(line)).not.toMatch(/planted-value|http\.version/);
  const session = await openLegacy(parley.url);
  await session.send(callOf('echo', { message: 'of-before' }));
  expect(await lineOf('of-before')).toMatchObject({ 'http.status': 200, 'gen_ai.tool.name': 'echo' });
  expect(await lineOf('"initialize"')).toMatchObject({ 'http.status': 200, 'mcp.method.name': 'initialize' });
});

test('so is one that its server refuses, with the error its client got', async () => {
  await send(parley.url, modernOf('tools/call', { name: 'nobody-has-it', params: { arguments: {} } }));
  expect(await lineOf('nobody-has-it')).toMatchObject({ 'http.status': 200, 'mcp.error.code': -32602, 'mcp.error.message': expect.stringContaining('nobody-has-it') });
});
