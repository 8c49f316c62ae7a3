/** The configuration of `parley up` without -f. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { CommandError } from '../core/exit.ts';

const SERVER = '@modelcontextprotocol/server-everything/dist/index.js';

/** Its file, and the variables it names: the policy service expands them, as in any other configuration. */
export function defaultConfig(): { readonly file: string; readonly variables: Readonly<Record<string, string>> } {
  return {
    file: fileURLToPath(new URL('../default.yaml', import.meta.url)),
    variables: { PARLEY_NODE: process.execPath, PARLEY_EVERYTHING: everything() },
  };
}

function everything(): string {
  try {
    return createRequire(import.meta.url).resolve(SERVER);
  } catch {
    throw new CommandError('the demonstration server is not installed: run `npm ci` in the checkout, or bring your own configuration with -f config.yaml');
  }
}
