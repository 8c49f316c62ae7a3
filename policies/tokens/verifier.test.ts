import { createHmac } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { ISSUER, type IssuerKey, forge, keySet, makeKey } from '../../test/world/tokens.ts';
import { issuerKeys } from './keys.ts';
import { LEEWAY_MS, REMEMBERED_MAX, TOKEN_CHARS_MAX, TokenVerifier, VERIFYING_MAX, type Judged, type TokenProblem, type TrustedIssuer } from './verifier.ts';

const NOW_MS = 1_700_000_000_000;
const NOW_S = NOW_MS / 1000;
const ME = 'https://gw.test/mcp';
const CLAIMS = { iss: ISSUER, sub: 'ada', aud: ME, exp: NOW_S + 600 };

let key: IssuerKey;
let other: IssuerKey;
beforeAll(async () => {
  [key, other] = await Promise.all([makeKey('ES256', 'one'), makeKey('RS256', 'two')]);
});

let nowMs = NOW_MS;
const noFile = { file: () => '', keys: () => ({ current: () => undefined, refresh: () => undefined }) };
const trusted = (document: string, more: Partial<TrustedIssuer> = {}): TrustedIssuer => ({ issuer: ISSUER, audiences: [ME], requiredClaims: ['exp'], keys: more.keys ?? issuerKeys(document, noFile), ...more });
const verifierOf = (...issuers: TrustedIssuer[]): TokenVerifier => new TokenVerifier(issuers, () => nowMs);
const problem = async (judged: Judged | Promise<Judged>): Promise<TokenProblem | 'good'> => {
  const it = await judged;
  return 'bad' in it ? it.bad : 'good';
};
const judge = (token: string, more: Partial<TrustedIssuer> = {}) => problem(verifierOf(trusted(keySet(key), more)).verify(token));

describe('a token', () => {
  test.each(['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'])('signed with %s by a published key is good', async (alg) => {
    const signer = await makeKey(alg, 'k');
    const judged = await verifierOf(trusted(keySet(signer))).verify(await signer.sign(CLAIMS));
    expect(judged).toEqual({ good: { claims: CLAIMS, principal: `jwt:${ISSUER}#ada` } });
  });

  test.each([
    ['has expired longer ago than clocks differ', { exp: NOW_S - 60 }, 'expired'],
    ['has expired as long ago as clocks may differ', { exp: NOW_S - 59 }, 'good'],
    ['is valid in as long as clocks may differ', { nbf: NOW_S + 60 }, 'good'],
    ['is valid in longer than clocks may differ', { nbf: NOW_S + 61 }, 'early'],
    ['is of another issuer', { iss: 'https://evil.example' }, 'issuer'],
    ['is meant for another server', { aud: 'https://other.example/mcp' }, 'audience'],
    ['is meant for a server whose URL begins with ours', { aud: `${ME}/more` }, 'audience'],
    ['is meant for several servers', { aud: ['https://other.example', ME] }, 'good'],
    ['is meant for nobody', { aud: undefined }, 'audience'],
    ['never expires', { exp: undefined }, 'claims'],
    ['expires at a time that is no number', { exp: 'soon' as unknown as number }, 'claims'],
  ])('that %s: %j is %s', async (_, claims, expected) => {
    expect(await judge(await key.sign({ ...CLAIMS, ...claims }))).toBe(expected);
  });

  test('may never expire where the operator requires no claim', async () => {
    expect(await judge(await key.sign({ ...CLAIMS, exp: undefined }), { requiredClaims: [] })).toBe('good');
  });

  test('must have the claims that are required', async () => {
    expect(await judge(await key.sign(CLAIMS), { requiredClaims: ['nbf'] })).toBe('claims');
    expect(await judge(await key.sign(CLAIMS), { requiredClaims: ['tenant'] })).toBe('claims');
    expect(await judge(await key.sign({ ...CLAIMS, tenant: 't' }), { requiredClaims: ['tenant'] })).toBe('good');
  });

  test('without signature (alg none) is refused', async () => {
    expect(await judge(forge({ alg: 'none', kid: 'one' }, CLAIMS))).toBe('signature');
  });

  test('signed with the public key as a shared secret (HS256) is refused', async () => {
    const unsigned = forge({ alg: 'HS256', kid: 'one' }, CLAIMS).slice(0, -1);
    const mac = createHmac('sha256', JSON.stringify(key.jwk)).update(unsigned).digest('base64url');
    expect(await judge(`${unsigned}.${mac}`)).toBe('signature');
  });

  test('whose claims were changed is refused', async () => {
    const [header, , signature] = (await key.sign(CLAIMS)).split('.');
    expect(await judge(`${header}.${Buffer.from(JSON.stringify({ ...CLAIMS, sub: 'eve' })).toString('base64url')}.${signature}`)).toBe('signature');
  });

  test('must name its key, one that is published', async () => {
    expect(await judge(await key.sign(CLAIMS, { kid: undefined }))).toBe('key');
    expect(await judge(await key.sign(CLAIMS, { kid: 'three' }))).toBe('key');
  });

  test('signed by another key under the name of a published one is refused', async () => {
    const impostor = await makeKey('ES256', 'one');
    expect(await judge(await impostor.sign(CLAIMS))).toBe('signature');
    expect(await judge(await other.sign(CLAIMS, { kid: 'one' }))).toBe('key');
  });

  test.each(['', 'a', 'a.b', 'a.b.c', 'a.b.c.d.e', 'ey J.e.e', '{}.{}.', forge({}, [] as unknown as object)])('that is none (%s) is refused', async (text) => {
    expect(['malformed', 'issuer']).toContain(await judge(text));
  });

  test('is read up to the limit, and not past it', async () => {
    const pad = async (chars: number) => {
      const short = (await key.sign({ ...CLAIMS, pad: '' })).length;
      const token = await key.sign({ ...CLAIMS, pad: 'x'.repeat(Math.floor(((chars - short) * 3) / 4)) });
      return token;
    };
    const longest = await pad(TOKEN_CHARS_MAX - 2);
    expect(longest.length).toBeLessThanOrEqual(TOKEN_CHARS_MAX);
    expect(await judge(longest)).toBe('good');
    expect(await judge('x'.repeat(TOKEN_CHARS_MAX + 1))).toBe('too-long');
  });

  test.each([
    ['none', undefined],
    ['an empty one', ''],
    ['one with a line break', 'ada\nbob'],
    ['one past the limit', 'a'.repeat(256)],
  ])('whose subject is %s names no principal', async (_, sub) => {
    expect(await verifierOf(trusted(keySet(key))).verify(await key.sign({ ...CLAIMS, sub }))).toMatchObject({ good: { principal: undefined } });
  });

  test('may have a subject as long as the limit', async () => {
    expect(await verifierOf(trusted(keySet(key))).verify(await key.sign({ ...CLAIMS, sub: 'a'.repeat(255) }))).toMatchObject({ good: { principal: `jwt:${ISSUER}#${'a'.repeat(255)}` } });
  });
});

describe('several issuers', () => {
  test('sign for themselves only, also when they name their keys alike', async () => {
    const theirs = await makeKey('ES256', 'one');
    const verifier = verifierOf(trusted(keySet(key)), trusted(keySet(theirs), { issuer: 'https://second.example' }));
    expect(await problem(verifier.verify(await theirs.sign({ ...CLAIMS, iss: 'https://second.example' })))).toBe('good');
    expect(await problem(verifier.verify(await theirs.sign(CLAIMS)))).toBe('signature');
  });
});

describe('a token that was good', () => {
  test('is good again at once', async () => {
    const verifier = verifierOf(trusted(keySet(key)));
    const token = await key.sign(CLAIMS);
    const first = verifier.verify(token);
    expect(first).toBeInstanceOf(Promise);
    const judged = await first;
    expect(verifier.verify(token)).toBe(judged);
  });

  test('is good until it expires, and no longer', async () => {
    const verifier = verifierOf(trusted(keySet(key)));
    const token = await key.sign(CLAIMS);
    await verifier.verify(token);
    try {
      nowMs = CLAIMS.exp * 1000 + LEEWAY_MS - 1;
      expect(verifier.verify(token)).not.toBeInstanceOf(Promise);
      nowMs += 1;
      expect(await problem(verifier.verify(token))).toBe('expired');
    } finally {
      nowMs = NOW_MS;
    }
  });

  test('is looked at again when its issuer publishes other keys', async () => {
    let document = keySet(key);
    const keys = issuerKeys({ url: 'https://issuer.example/keys' }, { ...noFile, keys: () => ({ current: () => document, refresh: () => undefined }) });
    const verifier = verifierOf(trusted('', { keys }) as TrustedIssuer);
    const token = await key.sign(CLAIMS);
    await verifier.verify(token);
    document = keySet(other);
    expect(await problem(verifier.verify(token))).toBe('key');
  });

  test('is verified once for all who ask meanwhile', async () => {
    const verifier = verifierOf(trusted(keySet(key)));
    const token = await key.sign(CLAIMS);
    expect(verifier.verify(token)).toBe(verifier.verify(token));
  });

  test('is forgotten when as many others as the limit were used since, and not before', { timeout: 60_000 }, async () => {
    const signer = await makeKey('EdDSA', 'quick');
    const verifier = verifierOf(trusted(keySet(signer)));
    const tokens = await Promise.all(Array.from({ length: REMEMBERED_MAX + 1 }, (_, index) => signer.sign({ ...CLAIMS, index })));
    const verify = async (some: readonly string[]) => {
      for (let at = 0; at < some.length; at += 500) await Promise.all(some.slice(at, at + 500).map(async (token) => verifier.verify(token)));
    };
    const [first = '', second = ''] = tokens;
    // One after the other: of those verified at the same time nobody knows which is done first.
    await verify([first]);
    await verify([second]);
    await verify(tokens.slice(2, REMEMBERED_MAX));
    expect(verifier.verify(first)).not.toBeInstanceOf(Promise);
    await verify(tokens.slice(REMEMBERED_MAX));
    expect(verifier.verify(first)).not.toBeInstanceOf(Promise);
    expect(verifier.verify(second)).toBeInstanceOf(Promise);
  });
});

describe('the work of verifying', () => {
  test('is done for as many tokens at a time as the limit, and one more is turned away at once', async () => {
    const verifier = verifierOf(trusted(keySet(key)));
    const tokens = await Promise.all(Array.from({ length: VERIFYING_MAX + 1 }, (_, index) => key.sign({ ...CLAIMS, index })));
    const [last = '', ...rest] = tokens;
    const working = rest.map((token) => verifier.verify(token));
    expect(verifier.verify(last)).toEqual({ bad: 'busy' });
    expect(new Set(await Promise.all(working.map(problem)))).toEqual(new Set(['good']));
    expect(await problem(verifier.verify(last))).toBe('good');
  });

  test('goes on for known keys while made-up ones are asked for', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const keys = issuerKeys({ url: 'https://issuer.example/keys' }, { ...noFile, keys: () => ({ current: () => keySet(key), refresh: () => promise }) });
    const verifier = verifierOf(trusted('{}', { keys }));
    const storm = Array.from({ length: VERIFYING_MAX + 1 }, (_, index) => verifier.verify(forge({ alg: 'ES256', kid: `made-up-${index}` }, CLAIMS, 'AAAA')));
    expect(storm.at(-1)).toEqual({ bad: 'busy' });
    expect(await problem(verifier.verify(await key.sign(CLAIMS)))).toBe('good');
    resolve();
    expect(await problem(storm[0] as Promise<Judged>)).toBe('key');
  });

  test('waits for the keys of an issuer that has just begun, and says so when there are none', async () => {
    let document: string | undefined;
    const keys = issuerKeys({ url: 'https://issuer.example/keys' }, { ...noFile, keys: () => ({ current: () => document, refresh: async () => void (document = keySet(key)) }) });
    expect(await problem(verifierOf(trusted('{}', { keys })).verify(await key.sign(CLAIMS)))).toBe('good');
    const none = issuerKeys({ url: 'https://issuer.example/keys' }, noFile);
    expect(await judge(await key.sign(CLAIMS), { keys: none })).toBe('no-keys');
  });
});
