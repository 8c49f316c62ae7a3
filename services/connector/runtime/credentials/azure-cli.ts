/** A token of whoever is logged in with Azure's command line, for people who try things at their desk. */
import { execFile } from 'node:child_process';
import { z } from 'zod';
import { Fault } from '#protocol/faults/fault.ts';
import type { CredentialSurroundings } from './credentials.ts';
import type { Issued } from './held.ts';

/** It is a large program, and slow. */
const AZ_MS = 10_000;
const OUTPUT_BYTES_MAX = 64 * 1024;

const output = z.object({ accessToken: z.string().min(1), expires_on: z.coerce.number().positive() });

/** @throws Fault; what the program said is in none. */
export function tokenOfAzureCli(resource: string, { target, env, learn }: CredentialSurroundings): Promise<Issued<string>> {
  const fault = (what: string): Fault => new Fault('upstream', `${target}: backendAuth.azure.developerImplicit: ${what}`, { target, reason: 'credential' });
  return new Promise((resolve, reject) => {
    execFile('az', ['account', 'get-access-token', '--output', 'json', '--resource', resource], { env: { ...env }, timeout: AZ_MS, maxBuffer: OUTPUT_BYTES_MAX, windowsHide: true }, (error, stdout) => {
      if (error !== null) return reject(fault(error.code === 'ENOENT' ? 'there is no program az (Azure CLI) where the connector runs' : 'the program az gave no token: az login'));
      const read = output.safeParse(jsonOf(stdout));
      if (!read.success) return reject(fault('the program az gave no token: az login'));
      learn(read.data.accessToken, 'passing');
      resolve({ value: read.data.accessToken, goodMs: Math.max(0, read.data.expires_on * 1000 - Date.now()) });
    });
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
