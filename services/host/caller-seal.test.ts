import { describe, expect, test } from 'vitest';
import { Secret } from '#protocol/config/secret.ts';
import { CALLER_TOKENS_CHARS_MAX } from '#protocol/subjects/caller.ts';
import { CallerSeal } from './caller-seal.ts';

const TOKEN = 'planted-token';
const shared = (byte: string): CallerSeal => new CallerSeal(() => new Secret(byte.repeat(32)));
const FOR = { route: 'r', backends: ['a', 'b'], goodMs: 60_000 };
const refused = (opening: Promise<unknown>) => expect(opening).rejects.toMatchObject({ code: 'upstream', facts: { reason: 'caller' } });

describe('a token of a caller', () => {
  test('is sealed for the backends of one route, and shows itself to whoever has the key', async () => {
    const sealed = await shared('ab').seal({ place: TOKEN }, FOR);
    expect(sealed).toMatch(/^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(Buffer.from(sealed, 'base64url').toString('latin1')).not.toContain(TOKEN);
    for (const backend of FOR.backends) expect((await shared('ab').open(sealed, backend, 'r')).tokens.get('place')?.reveal()).toBe(TOKEN);
    expect((await shared('ab').open(sealed, 'a', undefined)).tokens.size).toBe(1);
  });

  test('is sealed anew each time', async () => {
    expect(await shared('ab').seal({ place: TOKEN }, FOR)).not.toBe(await shared('ab').seal({ place: TOKEN }, FOR));
  });

  test('does not open at another backend, on another route, with another key, in another process, or when it was changed', async () => {
    const sealed = await shared('ab').seal({ place: TOKEN }, FOR);
    await refused(shared('ab').open(sealed, 'c', 'r'));
    await refused(shared('ab').open(sealed, 'a', 'other'));
    await refused(shared('cd').open(sealed, 'a', 'r'));
    await refused(shared('ab').open(`${sealed.slice(0, -2)}AA`, 'a', 'r'));
    await refused(shared('ab').open('no.seal', 'a', 'r'));
    const own = new CallerSeal(() => undefined);
    const ofProcess = await own.seal({ place: TOKEN }, FOR);
    await expect(own.open(ofProcess, 'a', 'r')).resolves.toBeDefined();
    await refused(new CallerSeal(() => undefined).open(ofProcess, 'a', 'r'));
  });

  test('does not open when the call is long over', async () => {
    await expect(shared('ab').open(await shared('ab').seal({ place: TOKEN }, { ...FOR, goodMs: 0 }), 'a', 'r')).resolves.toBeDefined();
    await refused(shared('ab').open(await shared('ab').seal({ place: TOKEN }, { ...FOR, goodMs: -40_000 }), 'a', 'r'));
  });

  test('may be as long as all of them together may', async () => {
    const half = 'x'.repeat(CALLER_TOKENS_CHARS_MAX / 2);
    await expect(shared('ab').seal({ a: half, b: half }, FOR)).resolves.toBeDefined();
    await expect(shared('ab').seal({ a: half, b: `${half}x` }, FOR)).rejects.toMatchObject({ code: 'invalid', facts: { status: '431' } });
  });
});

describe('what is said to get a token', () => {
  const unopened = (opening: Promise<unknown>) => expect(opening).rejects.toMatchObject({ code: 'upstream', facts: { reason: 'seal' } });

  test('is sealed for one purpose, and shows itself to whoever has the key and knows that', async () => {
    const sealed = await shared('ab').sealText(TOKEN, 'question', 60_000);
    expect(Buffer.from(sealed, 'base64url').toString('latin1')).not.toContain(TOKEN);
    expect(await shared('ab').openText(sealed, 'question')).toBe(TOKEN);
    await unopened(shared('ab').openText(sealed, 'answer'));
    await unopened(shared('cd').openText(sealed, 'question'));
    await unopened(shared('ab').openText(await shared('ab').sealText(TOKEN, 'question', -40_000), 'question'));
    await unopened(shared('ab').openText(await shared('ab').seal({ place: TOKEN }, FOR), 'a'));
    await refused(shared('ab').open(sealed, 'question', 'r'));
  });
});
