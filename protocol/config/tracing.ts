/** Where spans go, and which traces are recorded: `frontendPolicies.tracing`. */
import { z } from 'zod';
import { originOf } from './host-url.ts';
import { exactlyOne, nonEmpty, section } from './section.ts';

export interface TraceSettings {
  readonly protocol: 'grpc' | 'http';
  /** Whole for HTTP, without a path for gRPC. */
  readonly url: string;
  /** Share of the traces begun here that is recorded, 0 to 1; a trace begun elsewhere keeps its own decision. */
  readonly ratio: number;
}

const TRACES_PATH = '/v1/traces';

/** The format has `true`, `"true"`, `0.5` and `"0.5"`. */
const share = z
  .union([z.boolean(), z.number(), z.stringFormat('share', /^(true|false|[01]|0?\.\d{1,9}|1\.0+)$/)], { error: 'expected true, false, or a share from 0 to 1: expressions are not served here yet' })
  .transform((value) => (typeof value === 'number' ? value : value === true || value === 'true' ? 1 : Number(value === 'false' ? 0 : value)))
  .refine((ratio) => ratio >= 0 && ratio <= 1, 'a share is 0 to 1');

export const tracingSchema = section('tracing', {
  host: nonEmpty.optional(),
  protocol: z.enum(['grpc', 'http']).nullish(),
  path: z.string().regex(/^\/[^?#\s]*$/, 'a path begins with "/", and has no query').nullish(),
  randomSampling: share.nullish(),
  clientSampling: share.refine((ratio) => ratio === 1, 'a trace that its client records is recorded: what else clientSampling may say is not served yet').nullish(),
}).superRefine((value, context) => {
  exactlyOne(['host', 'service', 'backend'], ['host'])(value, context);
  const found = value.host === undefined ? undefined : originOf(value.host, false);
  if (found !== undefined && 'problem' in found) context.addIssue({ code: 'custom', path: ['host'], message: found.problem });
  if (value.path != null && value.protocol !== 'http') context.addIssue({ code: 'custom', path: ['path'], message: 'gRPC has no path: it is for protocol: http' });
});

/** Of a section that its schema let through. */
export function traceSettings({ host = '', protocol, path, randomSampling }: z.output<typeof tracingSchema>): TraceSettings | undefined {
  const found = originOf(host, false);
  if ('problem' in found) return undefined;
  const ratio = randomSampling ?? 0;
  return protocol === 'http' ? { protocol, url: `${found.origin}${path ?? TRACES_PATH}`, ratio } : { protocol: 'grpc', url: found.origin, ratio };
}
