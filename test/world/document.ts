/** A document as tests of its own rules compile it: without the schemas of policies. */
import { expect } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import type { Generation } from '#protocol/config/generation.ts';

export function good(document: unknown, env: Readonly<Record<string, string>> = {}): Generation {
  const { generation, problems } = compileDocument(document, { env });
  expect(problems.filter((one) => one.severity === 'error')).toEqual([]);
  return generation as Generation;
}

/** `path: message` of each. */
export const errors = (document: unknown): string[] =>
  compileDocument(document, { env: {} }).problems.filter((one) => one.severity === 'error').map((one) => `${one.path}: ${one.message}`);
