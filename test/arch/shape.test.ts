import { matchesGlob } from 'node:path';
import { describe, expect, test } from 'vitest';
import config from '../../vitest.config.ts';
import { FILE_LINES_MAX, SHAPE_RULES } from './shape.ts';
import { ROOTS } from './layers.ts';
import { listFiles, readSources } from './tree.ts';

const SOURCES = [...ROOTS, 'test'].map((root) => `${root}/**/*.ts`);
const sources = readSources(SOURCES);

describe('the files of the tree', () => {
  test('are there to be judged', () => {
    expect(sources.length).toBe(listFiles(SOURCES).length);
    expect(sources.length).toBeGreaterThan(20);
    expect(sources.filter(({ text }) => text.includes('import ')).length).toBeGreaterThan(sources.length / 2);
  });

  test.each(Object.entries(SHAPE_RULES))('keep the shape: %s', (_name, rule) => {
    expect(sources.flatMap(rule).join('\n')).toBe('');
  });

  test('that are tests all belong to a vitest project', () => {
    const projects = config.test?.projects ?? [];
    const included = projects.flatMap((project) => (typeof project === 'object' && 'test' in project ? (project.test?.include ?? []) : []));
    const tests = listFiles(['**/*.test.ts']);
    expect(tests).toContain('test/arch/shape.test.ts');
    expect(tests.filter((path) => !included.some((glob) => matchesGlob(path, glob)))).toEqual([]);
  });
});

type RuleName = keyof typeof SHAPE_RULES;

const WRONG: readonly (readonly [RuleName, string, string])[] = [
  ['tooLong', 'services/ingress/core/route.ts', '// a line\n'.repeat(FILE_LINES_MAX + 1)],
  ['forbiddenName', 'services/ingress/utils.ts', ''],
  ['forbiddenName', 'services/ingress/helpers/route.ts', ''],
  ['forbiddenName', 'protocol/config/types.ts', ''],
  ['forbiddenName', 'protocol/constants.ts', ''],
  ['straySubject', 'services/ingress/a.ts', `bus.send('parley.session.s1', x);`],
  ['straySubject', 'deploy/nats/a.ts', `export const allow = ["audit.>"];`],
  ['straySubject', 'services/ingress/a.ts', 'const to = `parley.session.${id}`;'],
  ['straySubject', 'services/ingress/a.ts', 'type Subject = `parley.${string}`; const a = f<string>(`audit.call`);'],
  ['strayEnvironment', 'services/host/host.ts', `const url = process.env.NATS_URL;`],
  ['strayEnvironment', 'services/host/host.ts', `const url = process['env']['NATS_URL'];`],
  ['strayEnvironment', 'services/host/host.ts', `const { env } = process;`],
  ['strayEnvironment', 'services/host/host.ts', `import { env } from 'node:process';`],
  ['defaultExport', 'services/host/host.ts', `export default function host(): void {}`],
  ['defaultExport', 'services/host/host.ts', `const a = 1; export default a;`],
  ['defaultExport', 'services/host/host.ts', `const a = 1; export { a as default };`],
];

const RIGHT: readonly (readonly [RuleName, string, string])[] = [
  ['tooLong', 'services/ingress/core/route.ts', '// a line\n'.repeat(FILE_LINES_MAX)],
  ['tooLong', 'services/ingress/core/route.test.ts', '// a line\n'.repeat(FILE_LINES_MAX + 1)],
  ['forbiddenName', 'services/session/core/types-of-era.ts', ''],
  ['straySubject', 'protocol/subjects/session.ts', `defineSubject({ pattern: 'parley.session.{session}' });`],
  ['straySubject', 'services/cli/up.ts', `// goes to 'parley.session.x'\nconst file = 'parley.yaml'; const name = 'parley';`],
  ['strayEnvironment', 'services/host/settings.ts', `const url = process.env.NATS_URL;`],
  ['strayEnvironment', 'services/cli/up.ts', `const url = process.env.NATS_URL;`],
  ['strayEnvironment', 'services/host/host.ts', `// process.env is read elsewhere\nspawn(file, { env: settings.env }); process.exitCode = 1;`],
  ['defaultExport', 'services/host/host.ts', `export const host = 1; export { host as guest };`],
];

const shown = (samples: typeof WRONG) => samples.map(([rule, path, text]) => ({ rule, path, text, start: text.slice(0, 50) }));

describe('a gate on the shape of files', () => {
  test.each(shown(WRONG))('$rule refuses $path: $start', ({ rule, path, text }) => {
    expect(SHAPE_RULES[rule]({ path, text })[0]).toContain(path);
  });

  test.each(shown(RIGHT))('$rule lets $path pass: $start', ({ rule, path, text }) => {
    expect(SHAPE_RULES[rule]({ path, text })).toEqual([]);
  });
});
