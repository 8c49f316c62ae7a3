import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { readDocument } from '#protocol/config/read.ts';
import { UNSUPPORTED_KEYS } from '#protocol/config/unsupported.ts';
import { depsWith } from '../test/world/policy.ts';
import { compileChain } from './chain.ts';
import { ORDER, POLICIES, implemented, isEnforced, policySchemas } from './order.ts';
import type { Entry, PolicyId } from './order.ts';
import type { Phase } from './policy.ts';

const root = import.meta.dirname;
/** What policies are made with, not policies: the language of expressions, rules written in it, tokens, logins, and servers that decide. */
const MATERIAL: ReadonlySet<string> = new Set(['authorizer', 'cel', 'logins', 'rules', 'tokens']);
const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory() && !MATERIAL.has(entry.name)).map((entry) => entry.name).toSorted();
const SECTIONS = ['Name', 'Description', 'Configuration', 'Examples', 'Verdicts'];
const readme = (folder: string): string => readFileSync(join(root, folder, 'README.md'), 'utf8');
const examples = (text: string): string[] => [...text.matchAll(/^```ya?ml\n(.*?)^```/gms)].map((found) => found[1] ?? '');

test('there are policies to look at', () => {
  expect(folders.length).toBeGreaterThanOrEqual(1);
});

test('the folders are the policies that are implemented', () => {
  expect(folders).toEqual(Object.keys(implemented).toSorted());
});

describe.each(folders)('the policy %s', (folder) => {
  test('has a README, a policy and a test, and nothing else', () => {
    expect(readdirSync(join(root, folder)).toSorted()).toEqual(['README.md', 'policy.test.ts', 'policy.ts']);
  });

  test('has its folder as id and its id as key in the order', () => {
    expect(implemented[folder]?.id).toBe(folder);
    expect(Object.values(ORDER).flat()).toContain(folder);
  });

  test('has a README with its name on top and the sections in order', () => {
    const headings = [...readme(folder).matchAll(/^(#{1,2}) (.+)$/gm)].map((found) => `${found[1]} ${found[2]}`);
    expect(headings).toEqual([`# ${folder}`, ...SECTIONS.map((section) => `## ${section}`)]);
  });

  test('has examples in its README that compile as written, and use it', () => {
    const texts = examples(readme(folder));
    expect(texts.length).toBeGreaterThanOrEqual(1);
    for (const text of texts) {
      const reading = readDocument(text, { file: `${folder}/README.md` });
      expect(reading.problems).toEqual([]);
      const { generation, problems } = compileDocument(reading.document, { env: {}, policies: policySchemas });
      expect(problems).toEqual([]);
      const listeners = generation?.binds.flatMap((bind) => bind.listeners) ?? [];
      const routes = listeners.flatMap((listener) => listener.routes);
      const backends = [...routes.flatMap((route) => route.backends), ...(generation?.backends.values() ?? [])];
      const used = [
        { phase: 'connection' as const, policies: generation?.frontendPolicies ?? {} },
        ...listeners.map(({ policies }) => ({ phase: 'gateway' as const, policies })),
        ...routes.map(({ policies }) => ({ phase: 'route' as const, policies })),
        ...backends.map(({ policies }) => ({ phase: 'backend' as const, policies })),
      ].filter(({ policies }) => folder in policies);
      expect(used.length).toBeGreaterThanOrEqual(1);
      const judgedElsewhere = 'judgedBy' in (implemented[folder] as object);
      for (const { phase, policies } of used) expect(compileChain({ [folder]: policies[folder] }, phase, depsWith()).empty).toBe(judgedElsewhere);
    }
  });
});

describe('the order', () => {
  test('has each policy at most once in a phase, and in at least one', () => {
    for (const ids of Object.values(ORDER)) expect(new Set(ids).size).toBe(ids.length);
    expect([...new Set(Object.values(ORDER).flat())].toSorted()).toEqual(Object.keys(POLICIES).toSorted());
  });

  test('enforces a policy in no phase in which the configuration refuses it', () => {
    const { gatewayPolicies, routePolicies, backendPolicies } = UNSUPPORTED_KEYS;
    const refused: Partial<Record<Phase, readonly string[]>> = { gateway: gatewayPolicies, route: routePolicies, backend: backendPolicies };
    for (const [phase, ids] of Object.entries(refused)) {
      for (const id of ids) {
        expect(Object.keys(POLICIES)).toContain(id);
        expect([id, phase, isEnforced(id as PolicyId)]).toEqual([id, phase, false]);
      }
    }
  });

  test('leaves no policy that is neither implemented nor refused, but for those that say how targets are reached', () => {
    const refused = new Set<string>(Object.values(UNSUPPORTED_KEYS).flat());
    expect(Object.entries<Entry>(POLICIES).filter(([id, { connection }]) => connection === undefined && !(id in implemented) && !refused.has(id))).toEqual([]);
  });
});
