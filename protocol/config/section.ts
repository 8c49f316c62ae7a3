/** Building blocks of the document's schema: one section is one strict object that also knows the names it refuses. */
import { z } from 'zod';
import { parseDuration } from './duration.ts';
import { compilePattern } from './pattern.ts';
import { ENFORCING, UNSUPPORTED_KEYS } from './unsupported.ts';
import type { SectionName } from './unsupported.ts';

/** Schemas of keys that are refused by name, so that nobody is advised to write one. */
const refusedSchemas = new WeakSet<z.ZodType>();

const REFUSED_KEY = {
  enforced: 'Parley knows this key but does not enforce it yet; refusing rather than serving without it',
  served: 'Parley knows this key but does not serve it yet; refusing rather than serving without it',
} as const;

function refused(message: string, empty: (value: unknown) => boolean = isEmpty): z.ZodType {
  const schema = z
    .unknown()
    .superRefine((value, context) => {
      if (!empty(value)) context.addIssue({ code: 'custom', message });
    })
    .optional()
    .meta({ refused: true });
  refusedSchemas.add(schema);
  return schema;
}

/** For a key inside a policy that Parley knows and does not enforce. An empty list may mean the most there (`allowedModels: []`), so only leaving it out asks for nothing. */
export const refusedKey = (): z.ZodType => refused(REFUSED_KEY.enforced, (value) => value == null);

/** The keys of a section, apart: those it serves and those it refuses by name. */
export const keysOfShape = (shape: Readonly<Record<string, z.ZodType>>): { served: string[]; refused: string[] } => {
  const keys = Object.entries(shape);
  return {
    served: keys.flatMap(([key, schema]) => (refusedSchemas.has(schema) ? [] : [key])),
    refused: keys.flatMap(([key, schema]) => (refusedSchemas.has(schema) ? [key] : [])),
  };
};

/** An absent key, `null` and an empty list ask for nothing; an empty map may (`a2a: {}`). */
const isEmpty = (value: unknown): boolean => value === undefined || value === null || (Array.isArray(value) && value.length === 0);

/** A strict object whose unknown keys are errors and whose known-but-unsupported ones are refusals. */
export function section<S extends Record<string, z.ZodType>>(name: SectionName, shape: S) {
  const message = ENFORCING.has(name) ? REFUSED_KEY.enforced : REFUSED_KEY.served;
  const refusals = Object.fromEntries(UNSUPPORTED_KEYS[name].map((key) => [key, refused(message)]));
  return z.strictObject({ ...shape, ...refusals } as S);
}

/** One of the served words; a word only the reference serves is refused, any other is a misspelling. */
export function word<const W extends readonly [string, ...string[]]>(served: W, unserved: readonly string[] = []) {
  return z.enum([...served, ...unserved] as unknown as W).superRefine((value, context) => {
    if (!unserved.includes(value)) return;
    context.addIssue({ code: 'custom', message: `Parley knows "${value}" here but does not serve it yet; served: ${served.join(', ')}` });
  });
}

/** Complains unless exactly one of the keys is there; unsupported alternatives count, they have their own complaint. */
export const exactlyOne =
  (keys: readonly string[], served: readonly string[] = keys) =>
  (value: object, context: z.RefinementCtx): void => {
    const present = keys.filter((key) => (value as Record<string, unknown>)[key] !== undefined && (value as Record<string, unknown>)[key] !== null);
    if (present.length === 1) return;
    const message = present.length === 0 ? `one of ${served.join(', ')} is required` : `only one of ${present.join(', ')} may be given`;
    context.addIssue({ code: 'custom', message });
  };

export const text = z.string();
export const flag = z.boolean();
export const nonEmpty = z.string().min(1, 'expected a text that is not empty');
export const port = z.int('expected a port number').min(0, 'a port is 0 to 65535').max(65_535, 'a port is 0 to 65535');
export const count = z.int('expected a whole number').min(0, 'expected 0 or more').max(4_294_967_295, 'expected at most 4294967295');
export const textMap = z.record(z.string(), z.string());

export const duration = z.string().refine((value) => parseDuration(value) !== undefined, 'expected a duration such as "10s", "1m30s" or "250ms"');

export const pattern = z.string().superRefine((value, context) => {
  try {
    compilePattern(value);
  } catch (error) {
    const why = error instanceof RangeError ? error.message : 'it does not compile';
    context.addIssue({ code: 'custom', message: `not a usable regular expression: ${why}` });
  }
});

const LABEL = '[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?';
const HOSTNAME = new RegExp(`^(?:\\*|(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*\\.?|\\[[0-9a-fA-F:.]+\\])$`);
const HOSTNAME_CHARS_MAX = 253;

export const hostname = z
  .string()
  .refine((value) => value.length <= HOSTNAME_CHARS_MAX && HOSTNAME.test(value), 'expected a host name such as example.com or *.example.com, without scheme or port');

/** `name` or `name/listener`, one or many. */
export const gatewayRefs = z.union([z.string(), z.array(z.string())], { error: 'expected the name of a gateway, or a list of names' });
