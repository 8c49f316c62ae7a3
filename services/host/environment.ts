/** Reading settings from the environment: each service declares its variables, and all of them complain in the same words. */
import { z } from 'zod';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { KEYS_MAX } from '#protocol/records/keys.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3600_000 };

/** A duration with its unit, as milliseconds. */
export function duration(maxMs: number): z.ZodType<number | undefined> {
  return z
    .string()
    .trim()
    .regex(/^\d+(ms|s|m|h)$/, 'must be a duration like 500ms, 60s or 2m')
    .transform((value) => {
      const [, digits, unit = 'ms'] = /^(\d+)(\D+)$/.exec(value) ?? [];
      return Number(digits) * (UNIT_MS[unit] ?? 1);
    })
    .refine((ms) => ms <= maxMs, `must be at most ${maxMs < 3600_000 ? `${maxMs / 1000}s` : `${maxMs / 3600_000}h`}`)
    .optional();
}

/** A whole number of bytes. */
export const bytes = (max: number): z.ZodType<number | undefined> =>
  z.coerce.number('must be a number of bytes').int('must be a whole number of bytes').min(1, 'must be at least 1').max(max, `must be at most ${max}`).optional();

/** A whole number of things. */
export const count = (max: number): z.ZodType<number | undefined> =>
  z.coerce.number('must be a number').int('must be a whole number').min(1, 'must be at least 1').max(max, `must be at most ${max}`).optional();

const KEYS = new RegExp(`^[0-9a-f]{64}(?:,[0-9a-f]{64}){0,${KEYS_MAX - 1}}$`, 'i');

/** The first one seals; all open. */
export const keys = z
  .string()
  .regex(KEYS, `must be 64 hex digits, as \`openssl rand -hex 32\` makes them, or up to ${KEYS_MAX} of those with commas between them`)
  .transform((text) => text.toLowerCase().split(',').map((key) => new Secret(key)) as [Secret, ...Secret[]])
  .optional();

/**
 * An empty variable counts as unset.
 * @throws Fault invalid, one line for each variable that is wrong; values are not repeated, they may be secrets.
 */
export function readEnvironment<S extends z.ZodRawShape>(environment: z.ZodObject<S>, env: Environment): z.output<z.ZodObject<S>> {
  const given = Object.fromEntries(Object.keys(environment.shape).map((name) => [name, env[name] === '' ? undefined : env[name]]));
  const read = environment.safeParse(given);
  if (read.success) return read.data;
  const lines = read.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`);
  throw new Fault('invalid', lines.join('\n'), { reason: 'settings' });
}
