import { describe, expect, test } from 'vitest';
import { compileDocument } from './compile.ts';
import { type ServiceEndpoint, compileServices } from './compile-services.ts';
import { type ServiceDocument, type WorkloadDocument, serviceSchema, workloadSchema } from './services.ts';

const SERVICE = { name: 'judge', namespace: 'ns', hostname: 'judge.test', ports: { 80: 8080, 90: 9090 } };
const workload = (more: object = {}): object => ({ namespace: 'ns', workloadIps: ['10.0.0.1'], services: { 'ns/judge.test': {} }, ...more });

/** The servers of a service, or what is wrong with them. */
function endpoints(workloads: readonly object[], { port = 80, name = 'ns/judge.test', service = {} }: { port?: number; name?: string; service?: object } = {}): readonly ServiceEndpoint[] | string[] | undefined {
  const problems: string[] = [];
  const say = (path: readonly unknown[], message: string, hint?: string): void => void problems.push(`${path.join('.')}: ${message}${hint === undefined ? '' : ` (${hint})`}`);
  const documents = { services: [serviceSchema.parse({ ...SERVICE, ...service }) as ServiceDocument], workloads: workloads.map((one) => workloadSchema.parse(one) as WorkloadDocument) };
  const found = compileServices(documents, { error: say, warn: say, quote: () => name })({ name, port }, ['at']);
  return problems.length === 0 ? found : problems;
}

describe('the servers of a service', () => {
  test('are its workloads: each at its first address, else at its hostname, and at the port it has for that of the service', () => {
    const found = endpoints([workload({ workloadIps: ['10.0.0.1', '10.0.0.2'] }), workload({ workloadIps: ['fd00::1'], services: { 'ns/judge.test': { 80: 81 } } }), workload({ workloadIps: [], hostname: 'w.test', capacity: 5 }), workload({ services: {} })]);
    expect(found).toEqual([{ host: '10.0.0.1:8080', weight: 1 }, { host: '[fd00::1]:81', weight: 1 }, { host: 'w.test:8080', weight: 5 }]);
  });

  test('are those that are healthy and have a capacity, unless all are to be asked', () => {
    const workloads = [workload(), workload({ workloadIps: ['10.0.0.2'], status: 'Unhealthy' }), workload({ workloadIps: ['10.0.0.3'], capacity: 0 })];
    expect(endpoints(workloads)).toHaveLength(1);
    expect(endpoints(workloads, { service: { loadBalancer: { healthPolicy: 'AllowAll' } } })).toHaveLength(2);
  });

  test.each<[object[], Parameters<typeof endpoints>[1], string]>([
    [[], {}, 'at.name: the service "ns/judge.test" has no workload that could be asked'],
    [[workload({ status: 'Unhealthy' })], {}, 'at.name: the service "ns/judge.test" has no workload that could be asked'],
    [[workload()], { port: 81 }, 'at.port: the service has no port 81 (it has: 80, 90)'],
    [[workload()], { name: 'ns/jugde.test' }, 'at.name: there is no service "ns/jugde.test" (did you mean "ns/judge.test"?)'],
    [[workload({ services: { 'ns/other.test': {} } })], {}, 'workloads.0.services.ns/other.test: there is no such service'],
    [[workload({ workloadIps: [] })], {}, 'workloads.0.workloadIps: required, and missing'],
    [[workload({ node: 'n1' })], {}, 'workloads.0.node: understood, not acted on yet: it is for a mesh'],
    [[workload()], { service: { vips: ['net/10.0.0.9'] } }, 'services.0.vips: understood, not acted on yet'],
  ])('%j asked for as %j: %s', (workloads, asked, words) => {
    expect(endpoints(workloads, asked)).toContainEqual(expect.stringContaining(words));
  });

  test.each([[256, 'all'], [257, 'at.name: the service "ns/judge.test" has more than 256 workloads']])('are %d at most: %s', (count, words) => {
    const found = endpoints(Array.from({ length: count }, () => workload()));
    expect(words === 'all' ? found?.length : found?.[0]).toBe(words === 'all' ? count : words);
  });
});

describe('a document', () => {
  const problems = (document: object): string[] => compileDocument({ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x' } }] }, ...document }, { env: {} }).problems.map(({ path, message }) => `${path}: ${message}`);

  test('may have services that nobody asks', () => expect(problems({ services: [{ ...SERVICE, vips: [] }], workloads: [workload()] })).toEqual([]));

  test.each<[object, string]>([
    [{ services: [SERVICE, SERVICE] }, 'services[1].hostname: this service is written twice'],
    [{ services: [{ ...SERVICE, ports: { http: 80 } }] }, 'services[0].ports.http'],
    [{ services: [{ ...SERVICE, ingressUseWaypoint: true }] }, 'services[0].ingressUseWaypoint: Parley knows this key but does not enforce it yet'],
    [{ services: [{ ...SERVICE, loadBalancer: { mode: 'Strict' } }] }, 'services[0].loadBalancer.mode'],
    [{ services: [SERVICE], workloads: [workload({ protocol: 'HBONE' })] }, 'workloads[0].protocol'],
    [{ services: [SERVICE], workloads: [workload({ authorizationPolicies: ['a'] })] }, 'workloads[0].authorizationPolicies: Parley knows this key'],
    [{ services: [SERVICE], workloads: [workload({ workloadIps: ['judge.test'] })] }, 'workloads[0].workloadIps[0]: expected an IP address'],
    [{ services: [SERVICE], workloads: [workload({ color: 'red' })] }, 'workloads[0].color: unknown key "color"'],
  ])('%j is refused: %s', (document, words) => expect(problems(document)).toContainEqual(expect.stringContaining(words)));
});
