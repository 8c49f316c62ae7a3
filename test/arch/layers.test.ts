import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ICruiseResult } from 'dependency-cruiser';
import { cruiseTree, ROOTS, RULES, violations } from './layers.ts';
import { listFiles, REPOSITORY } from './tree.ts';

describe('the layers of the tree', () => {
  let result: ICruiseResult;
  beforeAll(async () => {
    result = await cruiseTree(REPOSITORY);
  });

  test('are not crossed', () => {
    expect(violations(result).join('\n')).toBe('');
  });

  test('were looked at: every .ts file was cruised, and imports were found in them', () => {
    const cruised = new Set(result.modules.map((module) => module.source));
    const files = listFiles(ROOTS.map((root) => `${root}/**/*.ts`));
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !cruised.has(file))).toEqual([]);
    const imports = result.modules.reduce((sum, module) => sum + module.dependencies.length, 0);
    expect(imports).toBeGreaterThan(files.length / 2);
  });
});

/** One offence per rule, as a tree of its own that breaks the same rules. */
const OFFENCES: Record<string, readonly [file: string, text: string]> = {
  'everything-resolves': ['protocol/a.ts', `import '#protocol/missing.ts';`],
  'nothing-imports-test': ['services/ingress/a.ts', `import type { X } from '../../test/x.ts'; export type Y = X;`],
  'protocol-stands-alone': ['protocol/b.ts', `import type { X } from '../services/host/x.ts'; export type Y = X;`],
  'protocol-packages': ['protocol/c.ts', `import '@nats-io/nats-core';`],
  'policies-judge-only': ['policies/cors/a.ts', `import '#host/x.ts';`],
  'policies-packages': ['policies/cors/b.ts', `import 'undici';`],
  'expressions-packages': ['policies/cel/a.ts', `import 'zod';`],
  'services-meet-on-subjects': ['services/ingress/b.ts', `export { x } from '../session/x.ts';`],
  'services-deploy-nats-only': ['services/ingress/c.ts', `import '#deploy/helm/x.ts';`],
  'deploy-is-data': ['deploy/nats/a.ts', `import '#host/x.ts';`],
  'pure-code-no-node': ['services/session/core/a.ts', `import { readFileSync } from 'node:fs'; export const x = readFileSync;`],
  'core-packages': ['services/session/core/b.ts', `import 'undici';`],
  'core-stays-inside': ['services/session/core/c.ts', `import '../runtime/x.ts';`],
  'effect-at-the-rim': ['services/session/handle.ts', `const { Effect } = await import('effect'); export const x = Effect;`],
};

const INNOCENT: Record<string, string> = {
  'test/x.ts': 'export type X = 1;',
  'protocol/ok.ts': `import 'zod'; import 'node:crypto'; import '@modelcontextprotocol/core';`,
  'policies/cors/ok.ts': `import '#protocol/ok.ts'; import 'zod';`,
  'policies/cel/ok.ts': `import '@bufbuild/cel'; import '@bufbuild/cel/ext'; import 'ipaddr.js'; import 'node:crypto';`,
  'policies/cors/ok.test.ts': `import 'vitest'; import 'node:fs'; import '../../test/x.ts';`,
  'services/host/x.ts': `import 'effect'; import '#policies/cors/ok.ts'; export type X = 1;`,
  'services/session/x.ts': `import '#host/x.ts'; import '#deploy/nats/ok.ts'; export const x = 1;`,
  'services/session/main.ts': `import 'effect';`,
  'services/session/runtime/x.ts': `import 'effect'; import '../core/ok.ts';`,
  'services/session/core/ok.ts': `import 'xstate'; import 'zod'; import 'node:buffer'; import '#protocol/ok.ts';`,
  'services/cli/main.ts': `import '../session/main.ts'; import 'effect';`,
  'deploy/nats/ok.ts': `import '#protocol/ok.ts';`,
  'deploy/helm/x.ts': '',
};

describe('a crossed layer', () => {
  let sample: string;
  let found: Set<string>;
  beforeAll(async () => {
    sample = mkdtempSync(join(tmpdir(), 'layers-'));
    const put = (file: string, text: string): void => {
      mkdirSync(dirname(join(sample, file)), { recursive: true });
      writeFileSync(join(sample, file), text);
    };
    put('package.json', JSON.stringify({ type: 'module', imports: { '#protocol/*': './protocol/*', '#policies/*': './policies/*', '#host/*': './services/host/*', '#deploy/*': './deploy/*' } }));
    symlinkSync(join(REPOSITORY, 'node_modules'), join(sample, 'node_modules'));
    for (const [file, text] of Object.entries(INNOCENT)) put(file, text);
    for (const [file, text] of Object.values(OFFENCES)) put(file, text);
    const result = await cruiseTree(sample);
    found = new Set(result.summary.violations.map(({ rule, from }) => `${rule.name} ${from}`));
  });
  afterAll(() => rmSync(sample, { recursive: true, force: true }));

  test.each(RULES.map((rule) => rule.name))('is reported: %s', (name) => {
    const offence = OFFENCES[name ?? ''];
    expect(offence, `no sample offence for ${name}`).toBeDefined();
    expect(found).toContain(`${name} ${offence?.[0]}`);
  });

  test('is the only thing reported: what is allowed passes', () => {
    const innocent = [...found].filter((line) => Object.keys(INNOCENT).some((file) => line.endsWith(` ${file}`)));
    expect(innocent).toEqual([]);
  });
});
