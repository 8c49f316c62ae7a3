/**
 * Every subject contract has a golden document: pattern, owner, mode and the JSON Schema of what travels beside the
 * payload. Another version of Parley on the same cluster reads them, so a change is a reviewed act.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { listFiles, REPOSITORY } from './tree.ts';

const GOLDEN = join(REPOSITORY, 'test/arch/golden/subjects');
const ACCEPT = 'if the change is meant, accept it with `npm run golden` and commit the golden document';

interface Described {
  readonly pattern: string;
  readonly owner: string;
  readonly mode: string;
  readonly payload: string;
  readonly reply?: string;
  readonly meta: z.ZodType;
  readonly filter: string;
}

const isContract = (value: unknown): value is Described =>
  typeof value === 'object' && value !== null && 'pattern' in value && 'filter' in value && 'owner' in value && 'meta' in value;

function goldenText({ pattern, owner, mode, payload, reply, meta }: Described): string {
  return `${JSON.stringify({ pattern, owner, mode, payload, reply, meta: z.toJSONSchema(meta) }, null, 2)}\n`;
}

const files = listFiles(['protocol/{subjects,audit}/*.ts']).filter((path) => !path.endsWith('.test.ts'));
const contracts: { name: string; file: string; contract: Described }[] = [];
for (const file of files) {
  const module = (await import(pathToFileURL(join(REPOSITORY, file)).href)) as Record<string, unknown>;
  for (const [name, value] of Object.entries(module)) if (isContract(value)) contracts.push({ name, file, contract: value });
}

if (process.env['UPDATE_GOLDEN'] === '1') {
  rmSync(GOLDEN, { recursive: true, force: true });
  mkdirSync(GOLDEN, { recursive: true });
  for (const { name, contract } of contracts) writeFileSync(join(GOLDEN, `${name}.json`), goldenText(contract));
}

const stored = new Map(listFiles(['test/arch/golden/subjects/*.json']).map((path) => [path.replace(/^.*\/|\.json$/g, ''), join(REPOSITORY, path)]));

describe('the subject contracts', () => {
  test('were found: as many as the files define', () => {
    const defined = files.flatMap((file) => readFileSync(join(REPOSITORY, file), 'utf8').match(/^export const \w+ = defineSubject\(/gm) ?? []);
    expect(defined.length).toBeGreaterThan(0);
    expect(contracts.length).toBeGreaterThanOrEqual(defined.length);
  });

  test('have names and patterns of their own', () => {
    const names = contracts.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
    const filters = contracts.map(({ contract }) => contract.filter);
    expect(filters).toEqual([...new Set(filters)]);
  });

  test.each(contracts)('$name is what its golden document says', ({ name, file, contract }) => {
    const path = stored.get(name);
    expect(path, `${file}: ${name} has no golden document: ${ACCEPT}`).toBeDefined();
    expect(goldenText(contract), `${file}: ${name} is not what it was: ${ACCEPT}`).toBe(readFileSync(path ?? '', 'utf8'));
  });

  test('leave no golden document behind', () => {
    const names = new Set(contracts.map(({ name }) => name));
    expect([...stored.keys()].filter((name) => !names.has(name)), `contract gone: ${ACCEPT}`).toEqual([]);
  });

  test('give another golden document when anything in them changes', () => {
    const before: Described = { pattern: 'a.{b}', owner: 'session', mode: 'one', payload: 'bytes', filter: 'a.*', meta: z.object({ at: z.string() }) };
    const changes: Partial<Described>[] = [{ pattern: 'a.{c}' }, { owner: 'host' }, { mode: 'event' }, { payload: 'none' }, { reply: 'one' }, { meta: z.object({ at: z.string().optional() }) }];
    for (const change of changes) expect(goldenText({ ...before, ...change })).not.toBe(goldenText(before));
  });
});
