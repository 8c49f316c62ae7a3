/** Whether the certificates and keys that a configuration names can be used, as they are on this machine. */
import type { Generation } from '#protocol/config/generation.ts';
import type { ProblemWithoutPosition } from '#protocol/config/problem.ts';
import { loadCredentials } from '../../ingress/runtime/sockets/credentials.ts';

export async function checkCredentials(generation: Generation | undefined): Promise<ProblemWithoutPosition[]> {
  const problems: ProblemWithoutPosition[] = [];
  for (const { tls } of generation?.binds.flatMap(({ listeners }) => listeners) ?? []) {
    if (tls === undefined || tls.spiffe === true) continue;
    const loaded = await loadCredentials(tls);
    if ('problem' in loaded) {
      // Not the path in it: it may have come from the environment.
      const { key, message, hint } = loaded.problem;
      problems.push({ severity: 'error', path: `${tls.at}.${key}`, message: `the file ${message}`, hint });
    } else if (loaded.credentials.validTo.getTime() < Date.now()) {
      problems.push({ severity: 'warning', path: `${tls.at}.cert`, message: `the certificate has ended: ${loaded.credentials.validTo.toISOString()}` });
    }
  }
  return problems;
}
