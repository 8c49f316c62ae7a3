/**
 * Every policy of the reference format, the order in which each phase runs them, and the traffic each is for: in this
 * file and nowhere else. A policy without `policy` is known by name and not enforced; the configuration refuses it
 * (protocol/config/unsupported.ts), so that an entry here promises nothing.
 */
import type { z } from 'zod';
import type { Phase, Policy, RulePolicy } from './policy.ts';
import { accessLog, logExpression, logFields } from './accessLog/policy.ts';
import { apiKey } from './apiKey/policy.ts';
import { authorization } from './authorization/policy.ts';
import { basicAuth } from './basicAuth/policy.ts';
import { cors } from './cors/policy.ts';
import { csrf } from './csrf/policy.ts';
import { directResponse } from './directResponse/policy.ts';
import { extAuthz } from './extAuthz/policy.ts';
import { jwtAuth } from './jwtAuth/policy.ts';
import { mcpAuthentication } from './mcpAuthentication/policy.ts';
import { mcpAuthorization } from './mcpAuthorization/policy.ts';
import { networkAuthorization } from './networkAuthorization/policy.ts';
import { oidc } from './oidc/policy.ts';
import { requestHeaderModifier } from './requestHeaderModifier/policy.ts';
import { requestRedirect } from './requestRedirect/policy.ts';
import { responseHeaderModifier } from './responseHeaderModifier/policy.ts';
import { customFunctionsSchema } from './rules/custom-functions.ts';
import { toolPinning } from './toolPinning/policy.ts';
import { transformations } from './transformations/policy.ts';
import { urlRewrite } from './urlRewrite/policy.ts';

export type Traffic = 'http' | 'mcp' | 'a2a' | 'llm';

export interface Entry {
  readonly traffic: readonly Traffic[];
  readonly policy?: Policy | RulePolicy;
  /** It says how targets are reached: compiled into them (protocol/config/compile-connection.ts), and no part of any chain. */
  readonly connection?: true;
}

const all: readonly Traffic[] = ['http', 'mcp', 'a2a', 'llm'];
const EVERYWHERE: Entry = { traffic: all };
const CONNECTION: Entry = { traffic: all, connection: true };

export const POLICIES = {
  a2a: { traffic: ['a2a'] },
  accessLog: { traffic: all, policy: accessLog },
  ai: { traffic: ['llm'] },
  apiKey: { traffic: all, policy: apiKey },
  authorization: { traffic: all, policy: authorization },
  backendAuth: CONNECTION,
  backendTLS: CONNECTION,
  backendTunnel: CONNECTION,
  basicAuth: { traffic: all, policy: basicAuth },
  buffer: EVERYWHERE,
  cors: { traffic: all, policy: cors },
  csrf: { traffic: all, policy: csrf },
  delay: EVERYWHERE,
  directResponse: { traffic: all, policy: directResponse },
  extAuthz: { traffic: all, policy: extAuthz },
  extProc: EVERYWHERE,
  health: EVERYWHERE,
  http: CONNECTION,
  inferenceRouting: { traffic: ['llm'] },
  jwtAuth: { traffic: all, policy: jwtAuth },
  localRateLimit: EVERYWHERE,
  mcpAuthentication: { traffic: ['mcp'], policy: mcpAuthentication },
  mcpAuthorization: { traffic: ['mcp'], policy: mcpAuthorization },
  mcpGuardrails: { traffic: ['mcp'] },
  networkAuthorization: { traffic: all, policy: networkAuthorization },
  oidc: { traffic: all, policy: oidc },
  remoteRateLimit: EVERYWHERE,
  requestHeaderModifier: { traffic: all, policy: requestHeaderModifier },
  requestMirror: EVERYWHERE,
  requestRedirect: { traffic: all, policy: requestRedirect },
  responseHeaderModifier: { traffic: all, policy: responseHeaderModifier },
  retry: EVERYWHERE,
  sessionAffinity: EVERYWHERE,
  tcp: CONNECTION,
  timeout: EVERYWHERE,
  toolPinning: { traffic: ['mcp'], policy: toolPinning },
  transformations: { traffic: all, policy: transformations },
  urlRewrite: { traffic: all, policy: urlRewrite },
} as const satisfies Record<string, Entry>;

export type PolicyId = keyof typeof POLICIES;

/** Connection: about all of a connection, whatever comes by it. Gateway: before a route is chosen. Route: after, before a backend is. Backend: on the way to it. Responses pass in reverse. */
export const ORDER: Readonly<Record<Phase, readonly PolicyId[]>> = {
  connection: ['networkAuthorization', 'accessLog'],
  gateway: ['cors', 'oidc', 'jwtAuth', 'basicAuth', 'apiKey', 'extAuthz', 'authorization', 'extProc', 'transformations'],
  route: [
    'timeout', 'cors', 'oidc', 'jwtAuth', 'mcpAuthentication', 'basicAuth', 'apiKey', 'extAuthz', 'authorization', 'mcpAuthorization', 'toolPinning', 'retry',
    'localRateLimit', 'remoteRateLimit', 'buffer', 'extProc', 'transformations', 'csrf', 'responseHeaderModifier',
    'requestHeaderModifier', 'urlRewrite', 'requestRedirect', 'delay', 'directResponse', 'requestMirror',
  ],
  backend: [
    'health', 'sessionAffinity', 'inferenceRouting', 'http', 'tcp', 'backendTLS', 'backendTunnel', 'authorization', 'extAuthz', 'backendAuth', 'transformations', 'requestHeaderModifier',
    'responseHeaderModifier', 'requestRedirect', 'a2a', 'ai', 'mcpGuardrails', 'mcpAuthorization', 'toolPinning',
  ],
};

export const isEnforced = (id: PolicyId): boolean => {
  const { policy, connection }: Entry = POLICIES[id];
  return policy !== undefined || connection === true;
};

/** The policies that exist, by id. */
export const implemented: Readonly<Record<string, Policy | RulePolicy>> = Object.fromEntries(
  Object.entries<Entry>(POLICIES).flatMap(([id, { policy }]) => (policy === undefined ? [] : [[id, policy]])),
);

/**
 * For `compileDocument({policies})`: what each policy's part of the configuration must look like, the functions they may call, and
 * the access log where the format had it before (protocol/config/access-log.ts).
 */
export const policySchemas: Readonly<Record<string, z.ZodType>> = {
  ...Object.fromEntries(Object.entries(implemented).map(([id, policy]) => [id, policy.schema])),
  customFunctions: customFunctionsSchema,
  logging: accessLog.schema,
  filter: logExpression,
  fields: logFields,
};
