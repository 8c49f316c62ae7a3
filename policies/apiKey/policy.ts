/**
 * Who calls, by a key. Of a key only its SHA-256 is kept; the presented one is hashed and looked up.
 *
 * K1 How long the look-up takes tells nothing about a key. It does not compare keys but digests, made with a key that this
 *    process drew at random and tells nobody: which digest belongs to what a caller presents cannot be foreseen, so what
 *    time could say of a stored one (which entry it was near to) is worthless, and no entry is nearer the front than another.
 * K2 No verdict, fact or message holds a key. A principal is named by the first digits of the key's hash.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { exactlyOne, refusedKey } from '#protocol/config/section.ts';
import { BEARER, SEVERAL, UNREADABLE, credentialReader, locationSchema, schemeOf } from '../credential.ts';
import { definePolicy, deny, learned, pass } from '../policy.ts';
import type { CompiledPolicy, Deny, PolicyDeps, Verdict } from '../policy.ts';

const KEYS_MAX = 10_000;
const KEY_CHARS_MAX = 1024;
const METADATA_CHARS_MAX = 4096;
/** 64 bits: two keys never share them by chance, and those that do are refused. */
const ID_CHARS = 16;
const PEPPER_BYTES = 32;

const HASH = /^sha256:[0-9a-f]{64}$/i;

const key = z.strictObject({
  key: z
    .string()
    .max(KEY_CHARS_MAX, `a key has at most ${KEY_CHARS_MAX} characters`)
    .regex(/^[\x21-\x7e]+$/, 'expected a key of visible ASCII characters, without spaces')
    .optional(),
  keyHash: z.string().regex(HASH, 'expected "sha256:" and 64 hex digits').optional(),
  metadata: z
    .record(z.string(), z.unknown(), 'expected a map, whose entries rules can name')
    .refine((value) => JSON.stringify(value).length <= METADATA_CHARS_MAX, `metadata has at most ${METADATA_CHARS_MAX} characters as JSON`)
    .nullish(),
  allowedModels: refusedKey(),
});

type KeyConfig = z.output<typeof key>;

const schema = z.strictObject({
  keys: z
    .array(key.superRefine(exactlyOne(['key', 'keyHash'])))
    .min(1, 'at least one key is needed')
    .max(KEYS_MAX, `at most ${KEYS_MAX} keys`)
    .superRefine(refuseTwins),
  mode: z.enum(['strict', 'optional', 'permissive']).nullish(),
  location: locationSchema.nullish(),
});

type ApiKeyConfig = z.output<typeof schema>;

export const apiKey = definePolicy({ id: 'apiKey', schema, compile: compileApiKey });

function compileApiKey(config: ApiKeyConfig, deps: PolicyDeps): CompiledPolicy {
  const { mode, location } = { mode: config.mode ?? 'optional', location: config.location ?? BEARER };
  // Drawn here and never told: it changes how long a look-up takes, and no verdict.
  const pepper = randomBytes(PEPPER_BYTES);
  const place = (hash: string): string => createHmac('sha256', pepper).update(hash).digest('base64');
  const verdicts = new Map<string, Verdict>(config.keys.map((one) => [place(hashOf(one)), yes(one)]));
  const read = credentialReader(location, deps);
  const no = refusals(schemeOf(location, 'ApiKey'));
  const permissive = mode === 'permissive';
  return {
    apply(call, facts) {
      const presented = read(call, facts);
      if (presented === undefined) return mode === 'strict' ? no.missing : pass;
      if (presented === SEVERAL || presented === UNREADABLE) return permissive ? pass : presented === SEVERAL ? no.duplicate : no.unreadable;
      const known = presented.length > KEY_CHARS_MAX ? undefined : verdicts.get(place(sha256(presented)));
      return known ?? (permissive ? pass : no.unknown);
    },
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const hashOf = ({ key: plain, keyHash }: KeyConfig): string => (plain === undefined ? (keyHash ?? '').slice('sha256:'.length).toLowerCase() : sha256(plain));

const yes = (one: KeyConfig): Verdict => Object.freeze(learned({ principal: `key:${hashOf(one).slice(0, ID_CHARS)}`, apiKey: one.metadata ?? {} }));

/** Every 401 says how to come back (RFC 9110 11.6.1); with a bearer token also what was wrong with it (RFC 6750 3.1). */
function refusals(scheme: string): Readonly<Record<'missing' | 'unknown' | 'duplicate' | 'unreadable', Deny>> {
  const wrong = scheme.toLowerCase() === 'bearer' ? `${scheme} error="invalid_token"` : scheme;
  const no = (why: string, message: string, challenge: string): Deny => ({ ...deny(401, `apiKey/${why}`, message), responseHeaders: [['www-authenticate', challenge]] });
  return {
    missing: no('missing', 'an API key is required', scheme),
    unknown: no('unknown', 'the API key is not known', wrong),
    duplicate: no('duplicate', 'more than one API key was sent', wrong),
    unreadable: no('unreadable', 'the API key cannot be read', wrong),
  };
}

/** By the principal they stand for, so that no two keys are one caller without anybody wanting it. */
function refuseTwins(keys: readonly KeyConfig[], context: z.RefinementCtx): void {
  const first = new Map<string, number>();
  for (const [index, one] of keys.entries()) {
    if (one.key === undefined && one.keyHash === undefined) continue;
    const id = hashOf(one).slice(0, ID_CHARS);
    const before = first.get(id);
    if (before === undefined) first.set(id, index);
    else context.addIssue({ code: 'custom', path: [index], message: `is the same key as keys[${before}]` });
  }
}
