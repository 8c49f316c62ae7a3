/** An audit event as readers find it: CloudEvents 1.0 in JSON, structured mode. What a call carried and what it returned are left out. */
import { z } from 'zod';
import { AUDIT_KINDS } from './kinds.ts';

export const AUDIT_TYPE_PREFIX = 'parley.audit.';

export const auditData = z.object({
  kind: z.enum(AUDIT_KINDS),
  route: z.string().optional().describe('key of the route'),
  target: z.string().optional().describe('name of the target, or of the plain HTTP backend; absent when several or none are meant'),
  method: z.string().optional().describe('the JSON-RPC method; of plain HTTP, the method of the request'),
  tool: z.string().optional().describe('the tool, as the target names it'),
  principal: z.string().describe('who called; `anonymous` when nobody proved anything'),
  session: z.string().optional().describe('the first 8 characters of the session id'),
  latencyMs: z.number().optional(),
  traceId: z.string().optional().describe('32 hex digits'),
  reason: z.string().optional().describe('why it was denied, failed or closed: a fault code, or a word of ours'),
  rule: z.string().optional().describe('the rule that denied it, by its place: `route.rules[2]`'),
  oldHash: z.string().optional().describe('of the definition of the tool that is trusted; absent when none is'),
  newHash: z.string().optional().describe('of the definition that was shown, or approved of'),
  changed: z.string().optional().describe('what of the definition is another: `description, inputSchema`'),
  extauthz: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional().describe('what an external authorizer said of the call: short values, none that looks like a secret'),
  generation: z.string().optional().describe('id of the configuration in force'),
});

export const auditEvent = z.object({
  specversion: z.literal('1.0'),
  id: z.string().min(1).describe('unique together with source'),
  source: z.string().min(1).describe('parley/<service instance>'),
  type: z.string().startsWith(AUDIT_TYPE_PREFIX),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  data: auditData,
});

export type AuditData = z.infer<typeof auditData>;
export type AuditCloudEvent = z.infer<typeof auditEvent>;
