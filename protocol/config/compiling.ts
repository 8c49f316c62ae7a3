/** What the steps of compiling a document share. */
import type { PolicyDocuments } from './generation.ts';
import type { Path } from './problem.ts';

/** Where problems go, and how a value may be quoted. */
export interface Compiling {
  error(path: Path, message: string, hint?: string): void;
  warn(path: Path, message: string): void;
  /** The text at a path as written, for messages. */
  quote(path: Path): string;
  /** The policies written at a path, each checked by its own schema. */
  policies(value: Readonly<Record<string, unknown>> | null | undefined, path: Path): PolicyDocuments;
}
