/** Every file of docs/examples, in force at a gateway, is called as its first line says; those of servers that only their readers have are in connection-examples.test.ts. */
import { readFile, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { POLICIES, implemented } from '#policies/order.ts';
import type { Entry } from '#policies/order.ts';
import { type HttpBackendFixture, startHttpBackend } from '../fixtures/http-backend.ts';
import { type HttpAuthorizer, startHttpAuthorizer } from '../world/authorizer.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { initializeOf, send } from '../world/wire.ts';

const EXAMPLES = join(import.meta.dirname, '../../docs/examples');
const files = (await readdir(EXAMPLES)).toSorted();
/** They say how servers are reached, and name some that only their readers have. One has a file for each of its kinds: `backendAuth-aws.yaml`. */
const connectionIds = Object.entries<Entry>(POLICIES).flatMap(([id, { connection }]) => (connection ? [id] : []));
const connections = files.filter((file) => connectionIds.some((id) => file === `${id}.yaml` || file.startsWith(`${id}-`)));
const served = files.filter((file) => !connections.includes(file));
/** `200 with nothing`, ``401 with `Name: value` ``. */
const CLAIM = /(\d{3}) with (?:nothing|`([^`:]+): ([^`]+)`)/g;

/** ``all say `name: value` ``: in the head of each answer. */
const SAID = /(?:all|both) say `([^`:]+): ([^`]+)`/;

test('there is one for each policy that is enforced', () => {
  expect(files.filter((file) => !file.includes('-'))).toEqual([...Object.keys(implemented), ...connectionIds, 'host'].map((id) => `${id}.yaml`).toSorted());
  expect(files.filter((file) => file.includes('-') && !connections.includes(file))).toEqual([]);
});

/** What `npx` starts in the examples, without the second that it takes to find it. */
const SERVER = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');
const started = (text: string): string => text.replace('cmd: npx', `cmd: ${process.execPath}`).replace('"@modelcontextprotocol/server-everything"', SERVER);

describe('a gateway with', () => {
  let world: ParleyWorld;
  let port: number;
  let authorizer: HttpAuthorizer;
  let backend: HttpBackendFixture;
  beforeAll(async () => {
    // Of extAuthz.yaml.
    authorizer = await startHttpAuthorizer(({ headers }, response) => void response.writeHead(headers['x-user'] === 'ada' ? 200 : 403).end());
    // Of host.yaml.
    backend = await startHttpBackend({ '/mcp': (_request, response) => void response.end('here') });
    port = await freePort();
    world = await startParley({ config: { binds: [{ port, listeners: [] }] } });
  });
  afterAll(async () => {
    await world?.stop();
    await authorizer?.close();
    await backend?.close();
  });

  test.each(served)('docs/examples/%s answers as its first line says', async (file) => {
    const text = await readFile(join(EXAMPLES, file), 'utf8');
    const [first = ''] = text.split('\n');
    const claims = [...first.matchAll(CLAIM)];
    const [, header, said] = SAID.exec(first) ?? [];
    expect(claims.length).toBeGreaterThanOrEqual(2);
    // One of them as it is: npx starts the same server for all.
    const runnable = file === served[0] ? text : started(text);
    await world.replace(runnable.replace('port: 3000', `port: ${port}`).replace('127.0.0.1:9000', authorizer.host).replace('127.0.0.1:8080', backend.host));
    for (const [claim, status, name, value] of claims) {
      const { status: told, headers } = await send(world.url, { headers: name === undefined ? {} : { [name]: value }, body: initializeOf() });
      expect(`${claim}: ${told}`).toBe(`${claim}: ${status}`);
      if (header !== undefined) expect(headers[header]).toBe(said);
    }
  });
});
