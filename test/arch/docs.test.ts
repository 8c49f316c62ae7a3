/** Documents that say what the code says: three are written from it, and all point at files that exist. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { policySchemas } from '#policies/order.ts';
import { compileDocument } from '#protocol/config/compile.ts';
import { readDocument } from '#protocol/config/read.ts';
import { configReference } from './config-reference.ts';
import { policiesPage } from './policies-page.ts';
import { listFiles, REPOSITORY } from './tree.ts';

interface Described {
  readonly pattern: string;
  readonly owner: string;
  readonly mode: string;
  readonly payload: string;
  readonly reply?: string;
  readonly meta: { readonly shape: Readonly<Record<string, { readonly description?: string | undefined }>> };
}

const isContract = (value: unknown): value is Described =>
  typeof value === 'object' && value !== null && 'pattern' in value && 'filter' in value && 'owner' in value && 'meta' in value;

const cell = (text: string): string => text.replaceAll('|', '\\|');

async function subjectsPage(): Promise<string> {
  const rows: string[] = [];
  for (const file of listFiles(['protocol/{subjects,audit}/*.ts']).filter((path) => !path.endsWith('.test.ts'))) {
    const module = (await import(pathToFileURL(join(REPOSITORY, file)).href)) as Record<string, unknown>;
    for (const [name, value] of Object.entries(module)) if (isContract(value)) rows.push(contractText(name, file, value));
  }
  return `<!-- Written by \`npm run golden\` from the contracts in protocol/. Change them there. -->
# Subjects

Everything services say to each other. A subject is built from its contract and never written by hand; the payload is raw bytes, and what
is listed as metadata travels beside it, as JSON in the NATS header \`meta\`. Modes: **call** = one member answers, in frames; **one** = one member hears it;
**event** = everybody who listens hears it. The frames of an answer are described in
[protocol/subjects/frames.ts](../protocol/subjects/frames.ts), the JSON Schema of each contract is in
[test/arch/golden/subjects](../test/arch/golden/subjects).

${rows.join('\n')}`;
}

function contractText(name: string, file: string, { pattern, owner, mode, payload, reply, meta }: Described): string {
  const fields = Object.entries(meta.shape).map(([key, { description }]) => (description === undefined ? `\`${key}\`` : `\`${key}\` (${description})`));
  const rows = [
    ['owner, mode', `${owner}, ${mode}`],
    ['payload', payload],
    ...(reply === undefined ? [] : [['reply', reply]]),
    ['metadata', fields.length === 0 ? 'none' : fields.join(' · ')],
  ];
  return `## \`${pattern}\`\n\n\`${name}\` in [${file}](../${file})\n\n| | |\n|---|---|\n${rows.map(([key = '', text = '']) => `| ${key} | ${cell(text)} |`).join('\n')}\n`;
}

const WRITTEN: Readonly<Record<string, () => string | Promise<string>>> = { 'docs/subjects.md': subjectsPage, 'docs/config.md': configReference, 'docs/policies.md': policiesPage };

const pages = ['README.md', 'CONTRIBUTING.md', ...listFiles(['docs/**/*.md', 'deploy/**/*.md'])];
const textOf = (page: string): string => readFileSync(join(REPOSITORY, page), 'utf8');

describe('a page that is written from the code', () => {
  test.each(Object.entries(WRITTEN))('%s says what the code says', async (page, write) => {
    const text = await write();
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(join(REPOSITORY, page), text);
    expect(textOf(page), `${page} is out of date: \`npm run golden\` writes it anew`).toBe(text);
  });
});

/** `](target)` with a path in it, and `path/with/file.ext` in backticks that begins in one of our folders. */
const LINK = /\]\((?!https?:|#)([^)#\s]+)/g;
const CODE_PATH = /`((?:protocol|policies|services|deploy|test|docs)\/[A-Za-z0-9_./-]+)`/g;

describe('the documents', () => {
  test('were found', () => expect(pages.length).toBeGreaterThan(10));

  test('link to files that exist', () => {
    const broken = pages.flatMap((page) => [...textOf(page).matchAll(LINK)].filter(([, target = '']) => !existsSync(join(REPOSITORY, dirname(page), target))).map(([, target]) => `${page}: ${target}`));
    expect(broken).toEqual([]);
  });

  test('name files that exist', () => {
    const gone = pages.flatMap((page) => [...textOf(page).matchAll(CODE_PATH)].filter(([, path = '']) => !existsSync(join(REPOSITORY, path))).map(([, path]) => `${page}: ${path}`));
    expect(gone).toEqual([]);
  });
});

describe('the examples', () => {
  const files = listFiles(['docs/examples/*.yaml']);

  test('were found', () => expect(files.length).toBeGreaterThan(1));

  test.each(files)('%s compiles as it is, and says first what a call or a server gets', (file) => {
    const text = textOf(file);
    expect(text).toMatch(/^# \S/);
    const { document, problems } = readDocument(text, { file });
    expect([...problems, ...compileDocument(document, { env: { FILES_KEY: 'of-the-environment', SESSION_KEY: '5e'.repeat(32), GATEWAY_SECRET: 'of-the-environment' }, policies: policySchemas }).problems]).toEqual([]);
  });
});
