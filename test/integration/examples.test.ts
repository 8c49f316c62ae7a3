/** Every file of docs/examples, started as its reader would, is called as its first line says; those of servers that are not here are read. */
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { POLICIES, implemented, policySchemas } from '#policies/order.ts';
import type { Entry } from '#policies/order.ts';
import { compileDocument } from '#protocol/config/compile.ts';
import { readDocument } from '#protocol/config/read.ts';
import { expressionProblems } from '../../services/policy/runtime/caller-problems.ts';
import { type HttpAuthorizer, startHttpAuthorizer } from '../world/authorizer.ts';
import { startCommand } from '../world/command.ts';
import type { Command } from '../world/command.ts';
import { freePort } from '../world/port.ts';
import { initializeOf, send } from '../world/wire.ts';

const EXAMPLES = join(import.meta.dirname, '../../docs/examples');
const files = (await readdir(EXAMPLES)).toSorted();
/** They say how servers are reached, and name some that only their readers have. One has a file for each of its kinds: `backendAuth-aws.yaml`. */
const connectionIds = Object.entries<Entry>(POLICIES).flatMap(([id, { connection }]) => (connection ? [id] : []));
const connections = files.filter((file) => connectionIds.some((id) => file === `${id}.yaml` || file.startsWith(`${id}-`)));
/** `200 with nothing`, ``401 with `Name: value` ``. */
const CLAIM = /(\d{3}) with (?:nothing|`([^`:]+): ([^`]+)`)/g;

/** ``all say `name: value` ``: in the head of each answer. */
const SAID = /(?:all|both) say `([^`:]+): ([^`]+)`/;

/** What the examples take from the environment of their readers. */
const ENV = { FILES_KEY: 'of-the-environment', SESSION_KEY: '5e'.repeat(32), GATEWAY_SECRET: 'of-the-environment' };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-examples-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('there is one for each policy that is enforced', () => {
  expect(files.filter((file) => !file.includes('-'))).toEqual([...Object.keys(implemented), ...connectionIds].map((id) => `${id}.yaml`).toSorted());
  expect(files.filter((file) => file.includes('-') && !connections.includes(file))).toEqual([]);
});

describe.each(connections)('docs/examples/%s', (file) => {
  test('says how its one server is reached', async () => {
    const { document } = readDocument(await readFile(join(EXAMPLES, file), 'utf8'), { file });
    const { generation, expressions = [], problems } = compileDocument(document, { env: ENV, policies: policySchemas });
    expect([problems, expressionProblems(expressions)]).toEqual([[], []]);
    const [target, ...others] = [...(generation?.backends.values() ?? [])].flatMap(({ targets }) => targets);
    expect(others).toEqual([]);
    expect(target).toHaveProperty(file.startsWith('backendTLS') ? 'tls' : 'auth');
  });
});

describe.each(files.filter((file) => !connections.includes(file)))('docs/examples/%s', (file) => {
  let up: Command;
  let url: string;
  let first: string;
  let authorizer: HttpAuthorizer;
  beforeAll(async () => {
    // Of extAuthz.yaml.
    authorizer = await startHttpAuthorizer(({ headers }, response) => void response.writeHead(headers['x-user'] === 'ada' ? 200 : 403).end());
    const text = await readFile(join(EXAMPLES, file), 'utf8');
    [first = ''] = text.split('\n');
    const port = await freePort();
    url = `http://127.0.0.1:${port}/mcp`;
    const config = join(folder, file);
    await writeFile(config, text.replace('port: 3000', `port: ${port}`).replace('127.0.0.1:9000', authorizer.host));
    up = startCommand(['up', '--data', join(folder, `${file}.data`), '-f', config]);
    await up.line(/^ready after/);
  });
  afterAll(async () => {
    await up?.stop();
    await authorizer?.close();
  });

  test('answers as its first line says', async () => {
    const claims = [...first.matchAll(CLAIM)];
    const [, header, said] = SAID.exec(first) ?? [];
    expect(claims.length).toBeGreaterThanOrEqual(2);
    for (const [claim, status, name, value] of claims) {
      const { status: told, headers } = await send(url, { headers: name === undefined ? {} : { [name]: value }, body: initializeOf() });
      expect(`${claim}: ${told}`).toBe(`${claim}: ${status}`);
      if (header !== undefined) expect(headers[header]).toBe(said);
    }
  });
});
