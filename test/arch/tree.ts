/** What is in the tree, read from the disk, so that the gates look at new files before anybody tracks them. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const REPOSITORY = join(import.meta.dirname, '..', '..');

export interface SourceFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

export function listFiles(patterns: readonly string[]): string[] {
  const found = globSync([...patterns], { cwd: REPOSITORY, exclude: ['**/node_modules/**'] });
  return found.map((path) => path.replaceAll('\\', '/')).sort();
}

export const readSources = (patterns: readonly string[]): SourceFile[] =>
  listFiles(patterns).map((path) => ({ path, text: readFileSync(join(REPOSITORY, path), 'utf8') }));
