/** `services` and `workloads`: groups of servers under one name, as a mesh has them. Here they are lists of hosts and ports. */
import { z } from 'zod';
import { count, nonEmpty, port, section, text } from './section.ts';

export const SERVICES_MAX = 1_000;
export const WORKLOADS_MAX = 10_000;
const PORTS_MAX = 256;
const ADDRESSES_MAX = 16;

/** JSON has no numbers for keys. */
const portKey = z.string().regex(/^[1-9]\d{0,4}$/, 'expected a port number').refine((written) => Number(written) <= 65_535, 'a port is 1 to 65535');
const few = (entries: object): boolean => Object.keys(entries).length <= PORTS_MAX;
const ports = z.record(portKey, port.min(1, 'a port is 1 to 65535')).refine(few, `at most ${PORTS_MAX} ports`);

const namespacedHost = z.string().regex(/^[^/\s]+\/[^/\s]+$/, 'expected namespace/hostname');

/** How a service is named where it is asked. */
export const serviceRefSchema = z.strictObject({ name: namespacedHost, port: port.min(1, 'a port is 1 to 65535') });
export type ServiceRef = z.output<typeof serviceRefSchema>;

const hostname = z.string().regex(/^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$/, 'expected the name of a host');

const loadBalancer = section('serviceLoadBalancer', {
  mode: z.enum(['Standard'], 'Parley knows places of workloads but does not choose by them yet: expected Standard').optional(),
  healthPolicy: z.enum(['OnlyHealthy', 'AllowAll']).optional(),
});

export const serviceSchema = section('service', {
  name: nonEmpty,
  namespace: nonEmpty,
  hostname,
  ports,
  vips: z.array(text).nullish(),
  appProtocols: z.record(portKey, z.enum(['Http11', 'Http2', 'Grpc', 'Tls', 'Tcp'])).refine(few, `at most ${PORTS_MAX} ports`).nullish(),
  subjectAltNames: z.array(text).nullish(),
  ipFamilies: z.enum(['Dual', 'IPv4', 'IPv6']).nullish(),
  loadBalancer: loadBalancer.nullish(),
});

const locality = z.strictObject({ region: text.optional(), zone: text.optional(), subzone: text.optional() });

export const workloadSchema = section('workload', {
  uid: text.nullish(),
  name: text.nullish(),
  namespace: nonEmpty,
  workloadIps: z.array(z.union([z.ipv4(), z.ipv6()], 'expected an IP address')).max(ADDRESSES_MAX, `at most ${ADDRESSES_MAX} addresses`).nullish(),
  hostname: hostname.nullish(),
  services: z.record(namespacedHost, ports),
  status: z.enum(['Healthy', 'Unhealthy']).nullish(),
  capacity: count.max(1_000_000, 'at most 1000000').nullish(),
  protocol: z.enum(['TCP'], 'Parley connects to workloads directly: expected TCP').nullish(),
  ...Object.fromEntries(['trustDomain', 'serviceAccount', 'network', 'workloadName', 'workloadType', 'canonicalName', 'canonicalRevision', 'node', 'clusterId'].map((key) => [key, text.nullish()])),
  networkMode: z.enum(['Standard', 'HostNetwork']).nullish(),
  locality: locality.nullish(),
});

/** What a mesh makes of these, and Parley does not: `understood, not acted on`. */
export const OF_A_MESH = {
  services: ['vips', 'appProtocols', 'subjectAltNames', 'ipFamilies'],
  workloads: ['trustDomain', 'serviceAccount', 'network', 'workloadName', 'workloadType', 'canonicalName', 'canonicalRevision', 'node', 'clusterId', 'networkMode', 'locality'],
} as const;

export type ServiceDocument = z.output<typeof serviceSchema>;
export type WorkloadDocument = z.output<typeof workloadSchema>;
