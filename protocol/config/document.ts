/** The gateway document, whole: the format of the reference system, as far as Parley serves it. Strict all the way down. */
import { z } from 'zod';
import { BACKENDS_MAX, backendSchema, mcpShape } from './backends.ts';
import { attachedRouteSchema, gatewayPolicyShape, routePolicies, routeSchema } from './routes.ts';
import { gatewayRefs, hostname, nonEmpty, port, section, text, word } from './section.ts';
import { SERVICES_MAX, WORKLOADS_MAX, serviceSchema, workloadSchema } from './services.ts';
import { startupSchema } from './startup.ts';
import { tlsSchema } from './tls.ts';
import { tracingSchema } from './tracing.ts';
import { UNSUPPORTED_VALUES } from './unsupported.ts';

const ROUTES_MAX = 10_000;
const LISTENERS_MAX = 1_000;
const BINDS_MAX = 1_000;

const routeLimit = `at most ${ROUTES_MAX} routes`;

const listenerSchema = section('listener', {
  name: nonEmpty.nullish(),
  namespace: text.nullish(),
  hostname: hostname.nullish(),
  protocol: word(['HTTP', 'HTTPS'], UNSUPPORTED_VALUES.listenerProtocol).optional(),
  tls: tlsSchema.nullish(),
  routes: z.array(routeSchema).max(ROUTES_MAX, routeLimit).nullish(),
  policies: section('gatewayPolicies', gatewayPolicyShape).nullish(),
});

const bindSchema = section('bind', {
  port: port.nullish(),
  listeners: z.array(listenerSchema).max(LISTENERS_MAX, `at most ${LISTENERS_MAX} listeners`),
  tunnelProtocol: word(['direct', 'connect'], UNSUPPORTED_VALUES.tunnelProtocol).optional(),
  mode: word(['standard', 'internal']).optional(),
});

const gatewayListenerSchema = section('gatewayListener', {
  name: nonEmpty.nullish(),
  hostname: hostname.nullish(),
  protocol: word(['HTTP', 'HTTPS'], UNSUPPORTED_VALUES.gatewayProtocol).nullish(),
  tls: tlsSchema.nullish(),
  ...gatewayPolicyShape,
});

const gatewaySchema = section('gateway', {
  port: port.nullish(),
  protocol: word(['HTTP', 'HTTPS'], UNSUPPORTED_VALUES.gatewayProtocol).nullish(),
  tls: tlsSchema.nullish(),
  listeners: z.array(gatewayListenerSchema).max(LISTENERS_MAX, `at most ${LISTENERS_MAX} listeners`).optional(),
  ...gatewayPolicyShape,
});

const simpleMcpSchema = section('mcpBackend', {
  gateways: gatewayRefs.optional(),
  port: port.nullish(),
  ...mcpShape,
  policies: routePolicies.nullish(),
});

const frontendPolicies = section('frontendPolicies', {
  networkAuthorization: z.unknown().optional(),
  accessLog: z.unknown().optional(),
  logging: z.looseObject({}).nullish(),
  tracing: tracingSchema.nullish(),
  connect: z.strictObject({ mode: word(['deny', 'tunnel'], UNSUPPORTED_VALUES.connectMode) }).nullish(),
});

export const documentSchema = section('root', {
  config: startupSchema.nullish(),
  frontendPolicies: frontendPolicies.nullish(),
  binds: z.array(bindSchema).max(BINDS_MAX, `at most ${BINDS_MAX} binds`).optional(),
  gateways: z.record(z.string(), gatewaySchema).optional(),
  routes: z.array(attachedRouteSchema).max(ROUTES_MAX, routeLimit).optional(),
  backends: z.array(backendSchema).max(BACKENDS_MAX, `at most ${BACKENDS_MAX} backends`).optional(),
  mcp: simpleMcpSchema.nullish(),
  services: z.array(serviceSchema).max(SERVICES_MAX, `at most ${SERVICES_MAX} services`).optional(),
  workloads: z.array(workloadSchema).max(WORKLOADS_MAX, `at most ${WORKLOADS_MAX} workloads`).optional(),
});

export type GatewayDocument = z.infer<typeof documentSchema>;
export type BindDocument = z.infer<typeof bindSchema>;
export type GatewayDocumentEntry = z.infer<typeof gatewaySchema>;
export type GatewayListenerDocument = z.infer<typeof gatewayListenerSchema>;
