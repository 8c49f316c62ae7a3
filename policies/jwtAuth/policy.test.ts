import { beforeAll, describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { ISSUER, type IssuerKey, forge, keySet, makeKey } from '../../test/world/tokens.ts';
import { compileChain } from '../chain.ts';
import { Secret } from '#protocol/config/secret.ts';
import { NO_FACTS, type PolicyDeps, type Rewrite, type Verdict } from '../policy.ts';
import { jwtAuth } from './policy.ts';

const NOW_MS = 1_700_000_000_000;
const CLAIMS = { iss: ISSUER, sub: 'ada', aud: 'gw', exp: NOW_MS / 1000 + 600 };

let key: IssuerKey;
let jwks: string;
beforeAll(async () => {
  key = await makeKey();
  jwks = keySet(key);
});

const provider = () => ({ issuer: ISSUER, audiences: ['gw'], jwks });
const compile = (config: object, deps: Partial<PolicyDeps> = {}) => jwtAuth.compile(jwtAuth.schema.parse(config), depsWith({ now: () => NOW_MS, ...deps }));

/** The verdict on a request with this token; undefined = without one. */
async function judge(config: object, token: string | undefined): Promise<Verdict> {
  return compile(config).apply(callWith({ headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }), NO_FACTS);
}

const seen = (verdict: Verdict): unknown[] => (verdict.kind === 'deny' ? [verdict.status, verdict.reason, Object.fromEntries(verdict.responseHeaders)['www-authenticate']] : [verdict.kind]);
const MISSING = [401, 'jwtAuth/missing', 'Bearer'];
const bad = (why: string) => [401, `jwtAuth/${why}`, 'Bearer error="invalid_token"'];

describe('a request', () => {
  test.each([
    ['strict', MISSING],
    ['optional', ['pass']],
    ['permissive', ['pass']],
    [undefined, ['pass']],
  ])('without a token, in mode %s: %j', async (mode, expected) => {
    expect(seen(await judge({ ...provider(), mode }, undefined))).toEqual(expected);
  });

  test.each([
    ['strict', bad('signature')],
    ['optional', bad('signature')],
    ['permissive', ['rewrite']],
  ])('with a bad token, in mode %s: %j', async (mode, expected) => {
    expect(seen(await judge({ ...provider(), mode }, forge({ alg: 'none' }, CLAIMS)))).toEqual(expected);
  });

  test.each(['strict', 'optional', 'permissive'])('with a good token goes on, and who calls is known, in mode %s', async (mode) => {
    const facts = { principal: `jwt:${ISSUER}#ada`, jwt: CLAIMS, verifiedToken: expect.any(Secret) as Secret };
    expect(await judge({ ...provider(), mode }, await key.sign(CLAIMS))).toEqual({ kind: 'rewrite', responseHeaders: [], facts });
  });

  test.each([
    ['strict', bad('claims')],
    ['optional', bad('claims')],
  ])('whose token names no subject is refused, in mode %s', async (mode, expected) => {
    expect(seen(await judge({ ...provider(), mode }, await key.sign({ ...CLAIMS, sub: undefined })))).toEqual(expected);
  });

  test('with a bad token goes on without it in mode permissive; a later policy has the last word of the same token', async () => {
    const other = await makeKey('ES256', 'other');
    const token = await other.sign({ ...CLAIMS, iss: 'https://other.example' });
    const request = callWith({ headers: { authorization: `Bearer ${token}` } });
    const refused = (await compile({ ...provider(), mode: 'permissive' }).apply(request, NO_FACTS)) as Rewrite;
    expect(refused.facts?.refusedTokens?.map((secret) => secret.reveal())).toEqual([token]);
    expect(JSON.stringify(refused)).not.toContain(token);
    const judge = compile({ issuer: 'https://other.example', jwks: keySet(other) });
    expect(await judge.apply(request, refused.facts ?? {})).toMatchObject({ facts: { refusedTokens: [], jwt: { sub: 'ada' } } });
    expect(await judge.apply(request, { refusedTokens: [new Secret('another')] })).toMatchObject({ facts: { refusedTokens: [expect.any(Secret)] } });
  });

  test('whose token names no subject goes on in mode permissive: its claims are known, and nobody calls', async () => {
    const { sub: _, ...claims } = CLAIMS;
    expect(await judge({ ...provider(), mode: 'permissive' }, await key.sign(claims))).toEqual({ kind: 'rewrite', responseHeaders: [], facts: { jwt: claims, verifiedToken: expect.any(Secret) as Secret } });
  });

  test.each([
    [{ exp: 1 }, 'expired'],
    [{ nbf: CLAIMS.exp }, 'early'],
    [{ iss: 'https://evil.example' }, 'issuer'],
    [{ aud: 'other' }, 'audience'],
    [{ exp: undefined }, 'claims'],
  ])('whose token says %j is refused as %s', async (claims, why) => {
    expect(seen(await judge(provider(), await key.sign({ ...CLAIMS, ...claims })))).toEqual(bad(why));
  });

  test('with a token of 64 KiB is refused before it is read', async () => {
    expect(seen(await judge(provider(), 'x'.repeat(64 * 1024)))).toEqual(bad('too-long'));
  });

  test('with two tokens is refused', async () => {
    const token = await key.sign(CLAIMS);
    expect(seen(await judge(provider(), `${token}, Bearer ${token}`))).toEqual(bad('malformed'));
    expect(seen(await compile(provider()).apply(callWith({ headers: { authorization: [token, token] } }), NO_FACTS))).toEqual(bad('malformed'));
  });

  test('is told to come back while the keys of the issuer are not known', async () => {
    const verdict = await judge({ ...provider(), jwks: { url: 'https://issuer.example/keys' } }, await key.sign(CLAIMS));
    expect(verdict).toMatchObject({ kind: 'deny', status: 503, reason: 'jwtAuth/key', responseHeaders: [['retry-after', '1']] });
  });

  test('that comes again is judged at once', async () => {
    const policy = compile(provider());
    const call = callWith({ headers: { authorization: `Bearer ${await key.sign(CLAIMS)}` } });
    const first = await policy.apply(call, NO_FACTS);
    const again = policy.apply(call, NO_FACTS);
    expect(again).not.toBeInstanceOf(Promise);
    expect(again).toEqual(first);
  });

  test('is never told any part of its token', async () => {
    const token = forge({ alg: 'none', kid: 'k' }, { ...CLAIMS, secret: 'hunter2' });
    const told = JSON.stringify(await judge(provider(), token));
    for (const part of ['hunter2', 'ada', ...token.split('.').filter((one) => one !== '')]) expect(told).not.toContain(part);
  });
});

describe('keys', () => {
  test('are read from a file', async () => {
    const policy = compile({ issuer: ISSUER, jwks: { file: 'keys.json' } }, { file: () => jwks });
    expect((await policy.apply(callWith({ headers: { authorization: `Bearer ${await key.sign(CLAIMS)}` } }), NO_FACTS)).kind).toBe('rewrite');
  });

  test('is read where an expression finds it', async () => {
    const config = { ...provider(), mode: 'strict', location: { expression: 'request.headers["x-tokens"].split(" ")[1]' } };
    const judged = async (headers: Record<string, string>) => compile(config).apply(callWith({ headers }), NO_FACTS);
    expect(await judged({ 'x-tokens': `other ${await key.sign(CLAIMS)}` })).toMatchObject({ kind: 'rewrite', facts: { principal: `jwt:${ISSUER}#ada` } });
    expect(seen(await judged({}))).toEqual(MISSING);
    expect(seen(await judged({ 'x-tokens': 'other' }))).toEqual(MISSING);
    expect(seen(await judged({ 'x-tokens': 'other nonsense' }))).toEqual(bad('malformed'));
    expect(seen(await compile({ ...config, location: { expression: 'json(request.headers["x-tokens"])' } }).apply(callWith({ headers: { 'x-tokens': '{' } }), NO_FACTS))).toEqual(bad('malformed'));
  });

  test('of several issuers are kept apart', async () => {
    const second = await makeKey('RS256', 'second');
    const config = { providers: [provider(), { issuer: 'https://second.example', jwks: keySet(second) }] };
    expect(await judge(config, await second.sign({ ...CLAIMS, iss: 'https://second.example', aud: undefined }))).toMatchObject({ facts: { principal: 'jwt:https://second.example#ada' } });
    expect(seen(await judge(config, await second.sign(CLAIMS)))).toEqual(bad('key'));
  });
});

describe('its configuration', () => {
  test.each([
    ['no issuer', { jwks: '{}' }],
    ['no keys', { issuer: ISSUER }],
    ['keys that are none', { issuer: ISSUER, jwks: '{"keys": []}' }],
    ['an issuer with a hash', { issuer: 'https://a.test/#', jwks: { file: 'a' } }],
    ['keys fetched without encryption', { issuer: ISSUER, jwks: { url: 'http://issuer.example/keys' } }],
    ['keys fetched with a password', { issuer: ISSUER, jwks: { url: 'https://a:b@issuer.example/keys' } }],
    ['an issuer and providers', { issuer: ISSUER, providers: [{ issuer: ISSUER, jwks: { file: 'a' } }] }],
    ['an issuer twice', { providers: [{ issuer: ISSUER, jwks: { file: 'a' } }, { issuer: ISSUER, jwks: { file: 'b' } }] }],
    ['no provider in the list', { providers: [] }],
    ['one provider past the limit', { providers: Array.from({ length: 65 }, (_, index) => ({ issuer: `${ISSUER}/${index}`, jwks: { file: 'a' } })) }],
    ['more claims than can be required', { issuer: ISSUER, jwks: { file: 'a' }, jwtValidationOptions: { requiredClaims: Array.from({ length: 33 }, (_, at) => `c${at}`) } }],
    ['what is no expression', { issuer: ISSUER, jwks: { file: 'a' }, location: { expression: 'x' } }],
    ['an unknown mode', { issuer: ISSUER, jwks: { file: 'a' }, mode: 'strikt' }],
    ['an unknown key', { issuer: ISSUER, jwks: { file: 'a' }, audience: 'gw' }],
  ])('refuses %s', (_, config) => {
    expect(jwtAuth.schema.safeParse(config).success).toBe(false);
  });

  test.each([
    ['as many providers as the limit', { providers: Array.from({ length: 64 }, (_, index) => ({ issuer: `${ISSUER}/${index}`, jwks: { file: 'a' } })) }],
    ['keys of this machine without encryption', { issuer: ISSUER, jwks: { url: 'http://localhost:7000/keys' } }],
    ['nulls for what is left out', { issuer: ISSUER, audiences: null, jwks: { file: 'a' }, jwtValidationOptions: null }],
  ])('takes %s', (_, config) => {
    expect(jwtAuth.schema.safeParse(config).success).toBe(true);
  });

  test.each(['gateway', 'route'] as const)('is compiled in the %s phase', (phase) => {
    expect(compileChain({ jwtAuth: provider() }, phase, depsWith()).empty).toBe(false);
  });
});
