import { beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../../test/world/certificates.ts';
import type { Minted } from '../../events.ts';
import { MINTING_MAX, MintedCertificates, type MintedCertificatesOptions } from './minted-certificates.ts';

const { ca: cert, key } = makeAuthority();

let outcomes: Minted[];
let aheadMs: number;
beforeEach(() => {
  [outcomes, aheadMs] = [[], 0];
});

const minting = (more: Partial<MintedCertificatesOptions> = {}): MintedCertificates =>
  new MintedCertificates({ authority: { cert, key }, covers: () => true, options: {}, minted: (outcome) => outcomes.push(outcome), now: () => Date.now() + aheadMs, ...more });

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index}.example`);

describe('a certificate for a name', () => {
  test('is made once for a crowd that asks at the same time, however it spells the name', async () => {
    const certificates = minting();
    const [first, ...others] = await Promise.all(['a.example', 'A.Example', 'a.example'].map((name) => certificates.of(name)));
    expect(others).toEqual([first, first]);
    expect(outcomes).toEqual(['made']);
  });

  test('is kept for its time, and made anew after that', async () => {
    const certificates = minting({ ttlMs: 1_000_000 });
    const first = await certificates.of('a.example');
    aheadMs = 900_000;
    expect(await certificates.of('a.example')).toBe(first);
    aheadMs = 1_000_001;
    expect(await certificates.of('a.example')).not.toBe(first);
  });

  test('that was not asked for the longest gives way past the capacity', async () => {
    const certificates = minting({ capacity: 2 });
    const [a, b] = [await certificates.of('a.example'), await certificates.of('b.example')];
    expect(await certificates.of('a.example')).toBe(a);
    await certificates.of('c.example');
    expect(await certificates.of('a.example')).toBe(a);
    expect(await certificates.of('b.example')).not.toBe(b);
  });

  test.each(['127.0.0.1', '::1', '*.example', 'a..example', 'a.example.', '-a.example', `${'a'.repeat(64)}.example`, `${'a.'.repeat(126)}ab`, 'a b', 'ä.example', ''])('"%s" is not made: it is no host name', async (name) => {
    await expect(minting().of(name)).rejects.toThrow('no certificate is made for this server name');
    expect(outcomes).toEqual(['refused']);
  });

  test('may have the longest names there are', async () => {
    await Promise.all([`${'a'.repeat(63)}.example`, `${'a.'.repeat(126)}a`, 'localhost', 'under_score.example'].map((name) => minting().of(name)));
    expect(outcomes).toEqual(['made', 'made', 'made', 'made']);
  });

  test('is not made where the listener does not cover the name', async () => {
    const certificates = minting({ covers: (name) => name.endsWith('.example') });
    await certificates.of('a.example');
    await expect(certificates.of('a.test')).rejects.toThrow('no certificate is made for this server name');
    expect(outcomes).toEqual(['made', 'refused']);
  });
});

test('as many names as the limit may be asked for at once; one past it is refused, and one that is being made is not', async () => {
  const certificates = minting();
  const asked = numbered(MINTING_MAX).map((name) => certificates.of(name));
  await expect(certificates.of('one-more.example')).rejects.toThrow('too many certificates');
  await Promise.all([...asked, certificates.of('n0.example')]);
  await certificates.of('one-more.example');
  expect(outcomes.filter((outcome) => outcome === 'limit')).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === 'made')).toHaveLength(MINTING_MAX + 1);
});

test('nothing is signed by an authority that has ended, and nothing is kept past its end', async () => {
  const ends = makeAuthority('Ends', { validMs: 60_000 });
  const certificates = minting({ authority: { cert: ends.ca, key: ends.key } });
  await certificates.of('a.example');
  aheadMs = 61_000;
  await expect(certificates.of('a.example')).rejects.toThrow('has ended');
  expect(outcomes).toEqual(['made', 'failed']);
});
