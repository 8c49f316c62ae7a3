/**
 * Secrets: tokens, keys and the headers that carry them. An expression may test one (`==`, `startsWith`, `matches`: the
 * answer is true or false), but whatever text or list it makes of one is a secret again, and a secret is shown as
 * `<redacted>`. `unredacted()` is how an operator says that they mean it.
 */
import { isCelList, isCelMap } from '@bufbuild/cel';
import type { CelResult, CelValue } from '@bufbuild/cel';
import { listOf, mapOf } from './collections.ts';
import { opaque, opaqueIn } from './opaque.ts';

export const REDACTED = '<redacted>';

/** Names in lower case. */
export const SECRET_HEADERS: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie']);

export const isSecret = (value: unknown): boolean => opaqueIn(value)?.kind === 'secret';

export function reveal(value: CelValue): CelValue {
  const content = opaqueIn(value);
  if (content?.kind === 'secret') return content.value;
  return value;
}

/** What was computed from a secret. Numbers and truths say too little to be one. */
export function conceal(value: CelResult): CelResult {
  if (typeof value === 'string' || value instanceof Uint8Array) return opaque({ kind: 'secret', value });
  if (isCelList(value)) return listOf([...value].map((item) => conceal(item) as CelValue));
  if (isCelMap(value)) return mapOf(new Map([...value].map(([key, item]) => [key, conceal(item) as CelValue])));
  return value;
}
