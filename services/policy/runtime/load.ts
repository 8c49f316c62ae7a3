/** From a file to a generation, or to everything that is wrong with it: what the policy service and `parley check` share. */
import { readFile, stat } from 'node:fs/promises';
import { whyUnreadable } from '#host/files.ts';
import { policySchemas } from '#policies/order.ts';
import { compileDocument } from '#protocol/config/compile.ts';
import type { Environment } from '#protocol/config/expand.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { byLine, hasErrors, problem } from '#protocol/config/problem.ts';
import type { Position, Problem } from '#protocol/config/problem.ts';
import { DOCUMENT_BYTES_MAX, readDocument } from '#protocol/config/read.ts';
import { type Running, callerProblems, expressionProblems, sessionKeyProblems } from './caller-problems.ts';
import { compileChains } from './chains.ts';
import { loginProblems } from './login-problems.ts';

export interface Loaded {
  /** As written, variables unexpanded; undefined when it could not be read. */
  readonly document: unknown;
  /** Undefined when there are errors. */
  readonly generation: Generation | undefined;
  /** Warnings too, in the order of the file. */
  readonly problems: readonly Problem[];
  /** Where in the file the value at a path is, or what is nearest above it. */
  readonly locate: (path: string) => Position;
}

export interface Source {
  readonly file: string;
  readonly env: Environment;
  readonly running?: Running | undefined;
}

/** Never throws: a file that cannot be read is a problem like any other. */
export async function loadDocument(file: string, env: Environment, running?: Running): Promise<Loaded> {
  const read = await readText(file);
  const nowhere = () => ({ line: 1, column: 1 });
  return 'problem' in read ? { document: undefined, generation: undefined, problems: [read.problem], locate: nowhere } : compileText(read.text, { file, env, running });
}

/** @see loadDocument, for a text that was read already */
export function compileText(text: string, { file, env, running }: Source): Loaded {
  const reading = readDocument(text, { file });
  if (reading.problems.length > 0) return { document: undefined, generation: undefined, problems: reading.problems.toSorted(byLine), locate: reading.locate };
  const { generation, problems, expressions } = compileDocument(reading.document, { env, policies: policySchemas });
  if (generation !== undefined) problems.push(...compileChains(generation).problems.map((what) => problem('error', [], what)), ...callerProblems(generation, running), ...sessionKeyProblems(reading.document, running), ...expressionProblems(expressions, generation.language), ...loginProblems(generation, running, env));
  const placed = problems.map((one): Problem => ({ ...one, file, ...reading.locate(one.path) }));
  return { document: reading.document, generation: hasErrors(problems) ? undefined : generation, problems: placed.toSorted(byLine), locate: reading.locate };
}

export async function readText(file: string): Promise<{ text: string } | { problem: Problem }> {
  try {
    const { size } = await stat(file);
    if (size > DOCUMENT_BYTES_MAX) return unreadable(file, `the document is ${size} bytes; at most ${DOCUMENT_BYTES_MAX} are read`);
    return { text: await readFile(file, 'utf8') };
  } catch (error) {
    return unreadable(file, `cannot be read: ${whyUnreadable(error)}`, 'check the path given with -f, and that this user may read it');
  }
}

function unreadable(file: string, message: string, hint?: string): { problem: Problem } {
  return { problem: { severity: 'error', file, line: 1, column: 1, path: '', message, ...(hint === undefined ? {} : { hint }) } };
}
