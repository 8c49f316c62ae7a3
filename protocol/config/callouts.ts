/**
 * Policies that ask a server of the operator's, and may name it by a `backend` of the document: only the document knows its
 * host and how that is reached. Once it is compiled, such a policy names a host.
 */
import type { BackendDocument } from './backends.ts';
import type { Compiling } from './compiling.ts';
import { originOf } from './host-url.ts';
import { meant } from './issues.ts';
import type { Path } from './problem.ts';

const CALLOUTS: ReadonlySet<string> = new Set(['extAuthz']);

export const isCallout = (id: string): boolean => CALLOUTS.has(id);

type Written = Readonly<Record<string, unknown>>;

const isMap = (value: unknown): value is Written => typeof value === 'object' && value !== null && !Array.isArray(value);

type Complaining = Pick<Compiling, 'error' | 'quote'>;

/** @param document of a policy, as it is written. What is no policy's document is left to its schema. */
export function withHosts(document: unknown, path: Path, backends: readonly BackendDocument[], compiling: Complaining): unknown {
  if (!isMap(document)) return document;
  const { conditional } = document;
  if (!Array.isArray(conditional)) return withHost(document, path, backends, compiling);
  return { ...document, conditional: conditional.map((entry: unknown, index) => (isMap(entry) ? withHost(entry, [...path, 'conditional', index], backends, compiling) : entry)) };
}

function withHost(document: Written, path: Path, backends: readonly BackendDocument[], compiling: Complaining): Written {
  const { backend: name, ...rest } = document;
  if (typeof name !== 'string') return document;
  const at = [...path, 'backend'];
  const quoted = compiling.quote(at);
  const found = backends.find((backend) => backend.name === name);
  if (found === undefined) return complain(`there is no backend "${quoted}"`, meant(quoted, backends.map((backend) => backend.name)));
  if (found.host === undefined) return complain(`the backend "${quoted}" is not a host: there is no one server to ask`);
  const unsent = (['backendAuth', 'requestHeaderModifier'] as const).find((key) => found.policies?.[key] != null);
  if (unsent !== undefined) return complain(`the backend "${quoted}" has ${unsent}, which is not sent to it here`);
  const policies = isMap(rest['policies']) ? rest['policies'] : {};
  const tls = policies['backendTLS'] ?? found.policies?.backendTLS;
  const origin = originOf(found.host, tls != null);
  if ('problem' in origin) return complain(`the host of the backend "${quoted}": ${origin.problem}`);
  return { ...rest, host: origin.origin, ...(tls == null ? {} : { policies: { ...policies, backendTLS: tls } }) };

  function complain(message: string, hint?: string): Written {
    compiling.error(at, message, hint);
    return document;
  }
}
