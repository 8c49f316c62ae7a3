/** Routes as the document writes them: which requests, under which policies, to which backends. */
import { z } from 'zod';
import { connectionShape, routeBackendSchema } from './backends.ts';
import { exactlyOne, gatewayRefs, hostname, nonEmpty, pattern, section, text } from './section.ts';

const MATCHES_MAX = 64;
const ROUTE_BACKENDS_MAX = 64;
const CONDITIONS_MAX = 32;

const path = z.string().refine((value) => value.startsWith('/'), 'a path begins with "/"');

const pathMatch = z.strictObject({ exact: path.optional(), pathPrefix: path.optional(), regex: pattern.optional() }).superRefine(exactlyOne(['exact', 'pathPrefix', 'regex']));

const valueMatch = z.strictObject({ exact: text.optional(), regex: pattern.optional() }).superRefine(exactlyOne(['exact', 'regex']));
const conditions = z.array(z.strictObject({ name: nonEmpty, value: valueMatch })).max(CONDITIONS_MAX, `at most ${CONDITIONS_MAX} conditions`);

const matchSchema = section('match', { headers: conditions.optional(), path: pathMatch.optional(), method: nonEmpty.optional(), query: conditions.optional() });

/** Which keys a policy may have is the policy's own schema; here they are values to hand on. */
const policyValue = z.unknown().optional();
export const routePolicies = section('routePolicies', {
  cors: policyValue,
  oidc: policyValue,
  jwtAuth: policyValue,
  mcpAuthentication: policyValue,
  basicAuth: policyValue,
  apiKey: policyValue,
  extAuthz: policyValue,
  authorization: policyValue,
  transformations: policyValue,
  csrf: policyValue,
  responseHeaderModifier: policyValue,
  urlRewrite: policyValue,
  requestRedirect: policyValue,
  directResponse: policyValue,
  mcpAuthorization: policyValue,
  ...connectionShape,
});
export const gatewayPolicyShape = { cors: policyValue, oidc: policyValue, jwtAuth: policyValue, basicAuth: policyValue, apiKey: policyValue, extAuthz: policyValue, authorization: policyValue, transformations: policyValue };

const routeShape = {
  name: nonEmpty.nullish(),
  namespace: text.nullish(),
  ruleName: text.nullish(),
  hostnames: z.array(hostname).optional(),
  matches: z.array(matchSchema).max(MATCHES_MAX, `at most ${MATCHES_MAX} matches`).optional(),
  policies: routePolicies.nullish(),
  backends: z.array(routeBackendSchema).max(ROUTE_BACKENDS_MAX, `at most ${ROUTE_BACKENDS_MAX} backends`).optional(),
};

export const routeSchema = section('route', routeShape);
export const attachedRouteSchema = section('route', { gateways: gatewayRefs.optional(), ...routeShape });

export type MatchDocument = z.infer<typeof matchSchema>;
export type AttachedRouteDocument = z.infer<typeof attachedRouteSchema>;
