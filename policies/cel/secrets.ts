/**
 * Secrets: tokens, keys and the headers that carry them. An expression may test one (`==`, `startsWith`, `matches`: the
 * answer is true or false), but whatever text or list it makes of one is a secret again, and a secret is shown as
 * `<redacted>`. `unredacted()` is how an operator says that they mean it.
 */
import { isCelList, isCelMap } from '@bufbuild/cel';
import type { CelResult, CelValue } from '@bufbuild/cel';
import { spoken } from '#protocol/config/language.ts';
import { listOf, mapOf } from './collections.ts';
import { opaque, opaqueIn } from './opaque.ts';

export const REDACTED = '<redacted>';

/** What everybody sends credentials in. In lower case. */
const SECRET_HEADERS: ReadonlySet<string> = new Set([
  'authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'cookie2', 'set-cookie2',
  'api-key', 'apikey', 'x-api-key', 'x-apikey', 'x-api-token', 'x-access-token', 'x-auth-token', 'x-auth-key', 'x-auth-email', 'x-session-token',
  'x-csrf-token', 'x-xsrf-token', 'x-goog-api-key', 'x-goog-iap-jwt-assertion', 'x-amz-security-token', 'x-amzn-oidc-data', 'x-amzn-oidc-accesstoken',
  'ocp-apim-subscription-key', 'x-functions-key', 'x-ms-token-aad-access-token', 'x-ms-token-aad-id-token', 'cf-access-jwt-assertion', 'cf-access-client-secret',
  'x-forwarded-access-token', 'x-forwarded-authorization', 'x-forwarded-client-cert', 'x-original-authorization', 'x-id-token', 'x-vault-token', 'x-consul-token',
  'private-token', 'job-token', 'x-gitlab-token', 'x-hub-signature', 'x-hub-signature-256', 'x-shopify-access-token', 'x-figma-token', 'mcp-session-id',
]);

/** Of these, and of those that the configuration names: as sensitive, or as the place of a credential. */
export const isSecretHeader = (name: string): boolean => SECRET_HEADERS.has(name) || spoken().secretHeaders.has(name);

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
