/** The configuration of a login by browser, and what stands for it between processes. */
import { hash } from 'node:crypto';
import { z } from 'zod';
import { jsonObject } from '../json-object.ts';
import { isFetchable, issuer, jwks } from '../tokens/config.ts';

const TEXT_CHARS_MAX = 2048;
const SECRET_CHARS_MAX = 4096;
const SCOPES_MAX = 64;
const DIGEST_CHARS = 22;

const text = z.string().min(1, 'expected a text that is not empty').max(TEXT_CHARS_MAX, `at most ${TEXT_CHARS_MAX} characters`);
const endpoint = z.string().max(TEXT_CHARS_MAX).refine(isFetchable, 'expected an https URL without user and password; http only for this machine (localhost, 127.0.0.1)');

const inlineDocument = z.string().refine((text) => jsonObject(text) !== undefined, 'expected the JSON of a discovery document');
const discovery = z.union([z.strictObject({ file: text }), z.strictObject({ url: endpoint }), inlineDocument], {
  error: 'expected {file: path}, {url: https URL}, or the JSON of a discovery document as text',
});

/** Sent to the provider as it is, and compared with what is registered there: what else a URL may have would be lost on the way back. */
const redirectURI = z.string().max(TEXT_CHARS_MAX).refine(isRedirect, 'expected the absolute http or https URL of the callback, without user, query and fragment');

const scope = z.string().max(TEXT_CHARS_MAX).regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'expected one scope, without spaces and quotes');

const EXPLICIT = ['authorizationEndpoint', 'tokenEndpoint', 'jwks'] as const;

export const oidcSchema = z
  .strictObject({
    issuer: issuer.refine((value) => URL.canParse(value), 'expected the URL of the identity provider'),
    discovery: discovery.nullish(),
    authorizationEndpoint: endpoint.nullish(),
    tokenEndpoint: endpoint.nullish(),
    tokenEndpointAuth: z.enum(['clientSecretBasic', 'clientSecretPost']).nullish(),
    jwks: jwks.nullish(),
    clientId: text,
    clientSecret: z.string().min(1, 'expected a secret that is not empty').max(SECRET_CHARS_MAX, `at most ${SECRET_CHARS_MAX} characters`),
    redirectURI,
    scopes: z.array(scope).max(SCOPES_MAX, `at most ${SCOPES_MAX} scopes`).nullish(),
  })
  .superRefine((value, context) => {
    const complain = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    const given = EXPLICIT.filter((key) => value[key] != null);
    if (given.length > 0 && given.length < EXPLICIT.length) {
      for (const key of EXPLICIT) if (value[key] == null) complain(key, `required beside ${given.join(' and ')}: give all of ${EXPLICIT.join(', ')}, or none and have them discovered`);
    }
    if (given.length > 0 && value.discovery != null) complain('discovery', `either discovery, or ${EXPLICIT.join(', ')}`);
    if (given.length === 0 && value.tokenEndpointAuth != null) complain('tokenEndpointAuth', 'discovery says how the token endpoint is asked: this goes with tokenEndpoint');
    if (given.length === 0 && value.discovery == null && !isFetchable(value.issuer)) complain('issuer', 'is not where a discovery document can be fetched (https; http only for this machine): give discovery');
  });

export type OidcConfig = z.output<typeof oidcSchema>;

/** Names the client between processes. Its secret is no part of that: not all of them know it. */
export const clientDigest = (config: OidcConfig): string => hash('sha256', JSON.stringify({ ...config, clientSecret: undefined }), 'base64url').slice(0, DIGEST_CHARS);

function isRedirect(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, username, password } = new URL(value);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '' && !/[?#]/.test(value);
}
