/**
 * What the reference format has and Parley does not do yet, as data, in one place. A name listed here is refused by
 * name, never skipped: a gateway that quietly drops `jwtAuth` is a hole. To support one, delete it here and add it to
 * the section's schema (or, for a policy, to policies/order.ts).
 */

const GATEWAY_POLICIES = ['extProc'] as const;

const ROUTE_POLICIES = [
  'requestMirror',
  'mcpGuardrails', 'a2a', 'ai',
  'localRateLimit', 'remoteRateLimit', 'extProc',
  'buffer', 'timeout', 'retry', 'delay',
] as const;

const BACKEND_POLICIES = [
  'health', 'mcpGuardrails',
  'a2a', 'inferenceRouting', 'sessionAffinity', 'ai',
] as const;

/** Keys by section of the document. */
export const UNSUPPORTED_KEYS = {
  root: ['policies', 'routeGroups', 'tcpRoutes', 'llm', 'ui'],
  frontendPolicies: ['http', 'tls', 'tcp', 'networkExtAuthz', 'proxy', 'proxyProtocol'],
  tracing: ['service', 'backend', 'policies', 'attributes', 'resources', 'remove', 'filter'],
  bind: [],
  listener: ['tcpRoutes'],
  gateway: GATEWAY_POLICIES,
  gatewayListener: GATEWAY_POLICIES,
  tls: [],
  gatewayPolicies: GATEWAY_POLICIES,
  route: [],
  routePolicies: ROUTE_POLICIES,
  match: [],
  routeBackend: ['internal', 'ai', 'aws', 'routeGroup', 'invalid'],
  backend: ['internal', 'ai', 'aws'],
  backendPolicies: BACKEND_POLICIES,
  mcpBackend: [],
  target: ['sse', 'openapi'],
  targetPolicies: ['transformations'],
  backendTLS: [],
  backendAuth: ['copilot'],
  oauthTokenExchange: [],
  crossAppAccessEndpoint: [],
  calloutPolicies: ['transformations'],
  calloutAuth: ['passthrough', 'oauthTokenExchange', 'crossAppAccess', 'copilot'],
  tunnelPolicies: ['requestHeaderModifier', 'transformations', 'http', 'backendTunnel'],
  tunnelAuth: ['passthrough', 'jwtSign', 'oauthTokenExchange', 'crossAppAccess', 'gcp', 'aws', 'azure', 'copilot', 'credentials'],
  service: ['waypoint', 'weightedWaypoints', 'ingressUseWaypoint'],
  serviceLoadBalancer: ['routingPreferences'],
  workload: ['waypoint', 'networkGateway', 'hboneMtlsPort', 'authorizationPolicies'],
  jwtSign: [],
  credentialLocation: ['expression'],
} as const satisfies Record<string, readonly string[]>;

export type SectionName = keyof typeof UNSUPPORTED_KEYS;

/** Sections whose keys are enforced on traffic: the refusal says so. */
export const ENFORCING: ReadonlySet<SectionName> = new Set<SectionName>([
  'frontendPolicies', 'gateway', 'gatewayListener', 'gatewayPolicies', 'tls', 'routePolicies', 'backendPolicies', 'targetPolicies', 'backendTLS', 'backendAuth', 'calloutPolicies', 'calloutAuth', 'tunnelPolicies', 'tunnelAuth', 'service', 'workload',
]);

/** Values the reference knows for a key, beyond the ones Parley serves. */
export const UNSUPPORTED_VALUES = {
  tunnelProtocol: ['hboneWaypoint', 'hboneGateway', 'proxy'],
  connectMode: ['route'],
  listenerProtocol: ['TLS', 'TCP', 'HBONE'],
  gatewayProtocol: ['TCP', 'TLS'],
} as const satisfies Record<string, readonly string[]>;

/** Keys under `config:` that change nothing yet. They tune or observe, so a warning is enough. */
export const NOT_ACTED_ON: readonly string[] = [
  'enableIpv6', 'dns', 'localXdsPath', 'modelCatalog', 'database', 'storage', 'caAddress', 'caAuthToken', 'xdsAddress',
  'xdsAuthToken', 'namespace', 'gateway', 'trustDomain', 'additionalTrustDomains', 'skipValidateTrustDomain',
  'serviceAccount', 'clusterId', 'network', 'adminAddr', 'standardAttributes', 'histograms',
  'connectionTerminationDeadline', 'connectionMinTerminationDeadline', 'workerThreads', 'tracing',
  'logging.database', 'readinessAddr', 'metrics', 'backend', 'hbone',
];
