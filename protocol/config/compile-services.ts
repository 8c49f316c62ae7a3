/** The servers of each service: the workloads that say they belong to it, as hosts and ports. */
import type { Compiling } from './compiling.ts';
import { meant } from './issues.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';
import { OF_A_MESH, type ServiceDocument, type ServiceRef, type WorkloadDocument } from './services.ts';

const ENDPOINTS_MAX = 256;

/** One server of several that do the same. */
export interface ServiceEndpoint {
  /** As a URL has it: `127.0.0.1:8080`, `[::1]:8080`, `name:8080`. */
  readonly host: string;
  /** How often it is chosen, against the others. */
  readonly weight: number;
}

/** @param path of the reference. Undefined after a complaint; never empty. */
export type FindService = (ref: ServiceRef, path: Path) => readonly ServiceEndpoint[] | undefined;

interface Documents {
  readonly services?: readonly ServiceDocument[] | null | undefined;
  readonly workloads?: readonly WorkloadDocument[] | null | undefined;
}

type Complaining = Pick<Compiling, 'error' | 'warn' | 'quote'>;

interface Declared {
  readonly document: ServiceDocument;
  readonly path: Path;
}

export function compileServices({ services, workloads }: Documents, compiling: Complaining): FindService {
  const declared = new Map<string, Declared>();
  for (const [index, document] of (services ?? []).entries()) {
    const path = ['services', index];
    const name = `${document.namespace}/${document.hostname}`;
    const first = declared.get(name);
    if (first === undefined) declared.set(name, { document, path });
    else compiling.error([...path, 'hostname'], `this service is written twice: it is ${pathText(first.path)}, too`);
    warnOfMesh(document, path, OF_A_MESH.services, compiling);
  }
  for (const [index, workload] of (workloads ?? []).entries()) {
    checkWorkload(workload, ['workloads', index], declared, compiling);
    warnOfMesh(workload, ['workloads', index], OF_A_MESH.workloads, compiling);
  }
  return (ref, path) => {
    const found = declared.get(ref.name);
    if (found === undefined) return unknownService(path, declared, compiling);
    return endpointsOf(found, ref, { path, workloads: workloads ?? [], compiling });
  };
}

function warnOfMesh(document: object, path: Path, keys: readonly string[], compiling: Complaining): void {
  for (const key of keys) {
    const value = (document as Readonly<Record<string, unknown>>)[key];
    if (value != null && value !== '' && !(Array.isArray(value) && value.length === 0)) compiling.warn([...path, key], 'understood, not acted on yet: it is for a mesh');
  }
}

function checkWorkload({ workloadIps, hostname, services }: WorkloadDocument, path: Path, declared: ReadonlyMap<string, Declared>, compiling: Complaining): void {
  if ((workloadIps ?? []).length === 0 && hostname == null) compiling.error([...path, 'workloadIps'], 'required, and missing: an address, or a hostname in its place');
  for (const name of Object.keys(services)) {
    if (!declared.has(name)) compiling.error([...path, 'services', name], 'there is no such service', meant(name, [...declared.keys()]));
  }
}

function unknownService(path: Path, declared: ReadonlyMap<string, Declared>, compiling: Complaining): undefined {
  const name = compiling.quote([...path, 'name']);
  const names = [...declared.keys()];
  const valid = names.length === 0 ? 'there is no services section' : `known: ${names.slice(0, 10).join(', ')}`;
  return void compiling.error([...path, 'name'], `there is no service "${name}"`, meant(name, names) ?? valid);
}

interface Asking {
  readonly path: Path;
  readonly workloads: readonly WorkloadDocument[];
  readonly compiling: Complaining;
}

function endpointsOf({ document }: Declared, { name, port }: ServiceRef, { path, workloads, compiling }: Asking): readonly ServiceEndpoint[] | undefined {
  const own = document.ports[String(port)];
  if (own === undefined) return void compiling.error([...path, 'port'], `the service has no port ${port}`, `it has: ${Object.keys(document.ports).join(', ') || 'none'}`);
  const all = document.loadBalancer?.healthPolicy === 'AllowAll';
  const endpoints = workloads.flatMap(({ workloadIps, hostname, services, status, capacity }): ServiceEndpoint[] => {
    const mapped = services[name];
    const weight = capacity ?? 1;
    if (mapped === undefined || weight === 0 || (status === 'Unhealthy' && !all)) return [];
    const address = workloadIps?.[0] ?? hostname ?? '';
    return [{ host: `${address.includes(':') ? `[${address}]` : address}:${mapped[String(port)] ?? own}`, weight }];
  });
  if (endpoints.length === 0) return void compiling.error([...path, 'name'], `the service "${compiling.quote([...path, 'name'])}" has no workload that could be asked`, 'workloads name their services, are Healthy unless they say otherwise, and have a capacity');
  if (endpoints.length > ENDPOINTS_MAX) return void compiling.error([...path, 'name'], `the service "${compiling.quote([...path, 'name'])}" has more than ${ENDPOINTS_MAX} workloads`);
  return endpoints;
}
