/** Files that the configuration names: keys of token issuers, passwords, certificates. Small, and read when a generation is taken. */
import { readFileSync, statSync } from 'node:fs';
import { Fault } from '#protocol/faults/fault.ts';

export const FILE_BYTES_MAX = 1024 * 1024;

const REASONS: Readonly<Record<string, string>> = { ENOENT: 'there is no such file', EACCES: 'permission denied', EISDIR: 'it is a directory' };

/** Its text. @throws Fault `invalid` that names the file and says why it cannot be read, and nothing of what is in it. */
export function readConfigFile(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > FILE_BYTES_MAX) throw new Fault('invalid', `the file ${path} has ${size} bytes; at most ${FILE_BYTES_MAX} are read`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault('invalid', `the file ${path} cannot be read: ${whyUnreadable(error)}`);
  }
}

/** In words, for whoever named the file. */
export function whyUnreadable(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return REASONS[code] ?? (code === '' ? 'unknown error' : code);
}
