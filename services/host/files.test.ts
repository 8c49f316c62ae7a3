import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { FILE_BYTES_MAX, readConfigFile } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'parley-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const written = (text: string): string => {
  const path = join(folder, `${crypto.randomUUID()}.txt`);
  writeFileSync(path, text);
  return path;
};

describe('a file the configuration names', () => {
  test('is read as it is', () => {
    expect(readConfigFile(written('ä\n'))).toBe('ä\n');
  });

  test.each([
    ['is not there', join(folder, 'none'), 'there is no such file'],
    ['is a folder', folder, 'it is a directory'],
  ])('that %s is named, with the reason', (_which, path, why) => {
    expect(() => readConfigFile(path)).toThrow(expect.objectContaining({ code: 'invalid', message: `the file ${path} cannot be read: ${why}` }));
  });

  test('has a limit', () => {
    expect(readConfigFile(written('x'.repeat(FILE_BYTES_MAX)))).toHaveLength(FILE_BYTES_MAX);
    expect(() => readConfigFile(written('x'.repeat(FILE_BYTES_MAX + 1)))).toThrow(/has 1048577 bytes; at most 1048576 are read/);
  });
});
