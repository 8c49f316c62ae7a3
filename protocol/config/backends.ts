/** Backends as the document writes them: MCP servers, singly or multiplexed, and plain HTTP hosts. */
import { z } from 'zod';
import { backendAuthSchema } from './backend-auth.ts';
import { backendTlsSchema } from './backend-tls.ts';
import { httpVersionSchema, keepalivesSchema, tunnelSchema } from './callout.ts';
import { requestHeaderModifierSchema } from './header-modifier.ts';
import { count, duration, exactlyOne, flag, nonEmpty, port, section, text, textMap, word } from './section.ts';
import { serviceRefSchema } from './services.ts';
import { toolPinningSchema } from './tool-pinning.ts';

export const BACKENDS_MAX = 10_000;
const TARGETS_MAX = 256;

const TARGET_KINDS = ['mcp', 'stdio', 'sse', 'openapi'] as const;

const targetName = z
  .string()
  .min(1, 'expected a name')
  .max(64, 'a target name has at most 64 characters')
  .refine((name) => !/[_+]/.test(name), 'a target name must not contain "_" or "+": they separate the target from the tool or resource it serves')
  .refine((name) => /^[\x21-\x7e]*$/.test(name), 'a target name is written in visible ASCII, without spaces');

const httpTarget = z.strictObject({ host: nonEmpty.optional(), port: port.nullish(), path: text.nullish(), backend: nonEmpty.optional() }).superRefine((value, context) => {
  exactlyOne(['host', 'backend'])(value, context);
  if (value.backend !== undefined && value.port != null) context.addIssue({ code: 'custom', message: 'port belongs to host; a backend brings its own' });
});

const stdioTarget = z.strictObject({
  cmd: nonEmpty,
  args: z.array(z.string()).optional(),
  env: textMap.optional(),
  clear_env: flag.optional(),
});

/** How upstreams are reached and what they are told, and whether their tools may change: the same keys wherever policies of a backend are written. */
export const connectionShape = {
  backendTLS: backendTlsSchema.nullish(),
  backendAuth: backendAuthSchema.nullish(),
  requestHeaderModifier: requestHeaderModifierSchema.nullish(),
  backendTunnel: tunnelSchema.nullish(),
  toolPinning: toolPinningSchema.nullish(),
};

/** What holds for one server, and for no route. */
const serverShape = {
  http: z.strictObject({ version: httpVersionSchema.nullish(), requestTimeout: duration.nullish() }).nullish(),
  tcp: z.strictObject({ connectTimeout: duration.nullish(), keepalives: keepalivesSchema.nullish() }).nullish(),
  ...connectionShape,
};

const targetSchema = section('target', {
  name: targetName,
  policies: section('targetPolicies', serverShape).nullish(),
  mcp: httpTarget.optional(),
  stdio: stdioTarget.optional(),
}).superRefine(exactlyOne(TARGET_KINDS, ['mcp', 'stdio']));

export const mcpShape = {
  targets: z.array(targetSchema).max(TARGETS_MAX, `at most ${TARGETS_MAX} targets`),
  statefulMode: word(['stateful', 'stateless']).optional(),
  prefixMode: word(['conditional', 'always', 'never']).nullish(),
  failureMode: word(['failClosed', 'failOpen']).nullish(),
  dnsRebindingProtection: flag.optional(),
};

const mcpBackend = section('mcpBackend', mcpShape);
/** Which keys a policy may have is the policy's own schema; here they are values to hand on. */
const policyValue = z.unknown().optional();
const backendPolicies = section('backendPolicies', { authorization: policyValue, extAuthz: policyValue, transformations: policyValue, responseHeaderModifier: policyValue, requestRedirect: policyValue, mcpAuthorization: policyValue, ...serverShape });

export const backendSchema = section('backend', {
  name: nonEmpty,
  policies: backendPolicies.nullish(),
  host: nonEmpty.optional(),
  mcp: mcpBackend.optional(),
}).superRefine(exactlyOne(['host', 'mcp', 'internal', 'ai', 'aws'], ['host', 'mcp']));

/** What `target` says is CEL, which is judged where it is known. */
const dynamicSchema = z.strictObject({ target: nonEmpty.nullish() });

const ROUTE_BACKEND_KINDS = ['backend', 'mcp', 'service', 'host', 'internal', 'dynamic', 'ai', 'aws', 'routeGroup', 'invalid'] as const;

export const routeBackendSchema = section('routeBackend', {
  weight: count.optional(),
  policies: backendPolicies.nullish(),
  backend: nonEmpty.optional(),
  mcp: mcpBackend.optional(),
  host: nonEmpty.optional(),
  service: serviceRefSchema.optional(),
  dynamic: dynamicSchema.optional(),
}).superRefine(exactlyOne(ROUTE_BACKEND_KINDS, ['backend', 'mcp', 'host', 'service', 'dynamic']));

export type TargetDocument = z.infer<typeof targetSchema>;
export type McpDocument = z.infer<typeof mcpBackend>;
export type BackendDocument = z.infer<typeof backendSchema>;
export type DynamicDocument = z.infer<typeof dynamicSchema>;
export type RouteBackendDocument = z.infer<typeof routeBackendSchema>;
