/** The services this program can run. Each is loaded only where it runs: a session worker needs no HTTP server in memory. */
import type { Environment } from '#host/environment.ts';
import type { Service } from '#host/host.ts';
import type { ServiceName } from '../arguments.ts';

export interface ServiceSource {
  /** Read by the policy service; absent = it takes what is in KV. */
  readonly file: string | undefined;
  /** What `$VAR` in the configuration stands for, and what stdio servers inherit. */
  readonly env: Environment;
}

export async function loadService(name: ServiceName, { file, env }: ServiceSource): Promise<Service> {
  switch (name) {
    case 'ingress':
      return (await import('../../ingress/main.ts')).ingressService(env);
    case 'policy':
      return (await import('../../policy/main.ts')).policyService(file === undefined ? { env } : { file, env });
    case 'session':
      return (await import('../../session/main.ts')).sessionService(env);
    case 'connector':
      return (await import('../../connector/main.ts')).connectorService(env);
  }
}
