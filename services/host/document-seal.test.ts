import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { generationId } from '#protocol/config/keys.ts';
import { Secret } from '#protocol/config/secret.ts';
import { type ConfigRecord, configRecord } from '#protocol/records/config.ts';
import { DocumentSeal, sameRecord } from './document-seal.ts';

const [ONE, TWO] = [new Secret('01'.repeat(32)), new Secret('02'.repeat(32))];
const sealWith = (...keys: [Secret, ...Secret[]]): DocumentSeal => new DocumentSeal(async () => keys);

const documentOf = (key: string, apiKey: object = {}): object => ({
  mcp: { policies: { apiKey: { keys: [{ keyHash: 'sha256:00', ...apiKey }] } }, targets: [{ name: 'a', mcp: { host: 'h' }, policies: { backendAuth: { key } } }] },
});
const sealed = (seal: DocumentSeal, document: unknown): Promise<ConfigRecord> => seal.seal({ id: generationId(document), document, acceptedAt: 0 });
const secretOf = async (key: string): Promise<ConfigRecord & { v: 2 }> => (await sealed(sealWith(ONE), documentOf(key))) as ConfigRecord & { v: 2 };

describe('a secret in the document', () => {
  test('is in no record, and opened by who has the key, whichever of theirs it is', async () => {
    const record = await secretOf('planted');
    expect(configRecord.parse(JSON.parse(JSON.stringify(record)))).toEqual(record);
    expect(JSON.stringify(record)).not.toContain('planted');
    for (const seal of [sealWith(ONE), sealWith(TWO, ONE)]) expect(await seal.open(record)).toEqual({ document: documentOf('planted'), secrets: ['planted'] });
  });

  test('stays as it is where it is a variable, and nobody needs a key', async () => {
    const nobody = new DocumentSeal(() => Promise.reject(new Error('asked')));
    expect(await sealed(nobody, documentOf('$KEY'))).toMatchObject({ v: 1, document: documentOf('$KEY') });
    await expect(sealed(nobody, documentOf('planted'))).rejects.toThrow('asked');
  });

  test.each<[string, (record: ConfigRecord & { v: 2 }) => object]>([
    ['they are sealed by another key', (record) => ({ ...record, sealed: 'no seal' })],
    ['they are damaged', (record) => ({ ...record, sealed: `${record.sealed.slice(0, -4)}AAAA` })],
    ['they are of another document', (record) => ({ ...record, document: { ...(record.document as object), more: 1 } })],
  ])('is not opened where %s', async (why, changed) => {
    const record = changed(await secretOf('planted')) as ConfigRecord & { v: 2 };
    await expect(sealWith(ONE).open(record)).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining(why) as string });
    await expect(sealWith(TWO).open(record)).rejects.toMatchObject({ message: expect.stringContaining('they are sealed by another key') as string });
  });

  test('needs a key that is looked for again until it is found', async () => {
    let asked = 0;
    const seal = new DocumentSeal(() => (++asked === 1 ? Promise.reject(new Error('away')) : Promise.resolve([ONE])));
    await expect(sealed(seal, documentOf('planted'))).rejects.toThrow('away');
    await sealed(seal, documentOf('planted'));
    await sealed(seal, documentOf('planted'));
    expect(asked).toBe(2);
  });
});

test.each([
  ['planted-key', 'planted-key'],
  ['a$$b', 'a$b'],
])('the key %j of a caller is published as its hash', async (written, presented) => {
  const { document, v } = await sealed(sealWith(ONE), documentOf('$KEY', { keyHash: undefined, key: written }));
  const keyHash = `sha256:${hash('sha256', presented)}`;
  expect([v, document]).toEqual([1, documentOf('$KEY', { keyHash })]);
});

test('a key of a caller that is a variable stays one', async () => {
  expect(await sealed(sealWith(ONE), documentOf('$KEY', { keyHash: undefined, key: '${CALLER}' }))).toMatchObject({ document: documentOf('$KEY', { keyHash: undefined, key: '${CALLER}' }) });
});

test('two records say the same where the documents as written and as published do, under one key', async () => {
  const by = (key: Secret, secret = 'planted'): Promise<ConfigRecord> => sealed(sealWith(key), documentOf(secret));
  expect(sameRecord(await by(ONE), await by(ONE))).toBe(true);
  expect(sameRecord(await by(ONE), await by(TWO))).toBe(false);
  expect(sameRecord(await by(ONE), await by(ONE, 'other'))).toBe(false);
  const open = { v: 1 as const, id: (await by(ONE)).id, document: documentOf('planted'), acceptedAt: 0 };
  expect(sameRecord(await by(ONE), open)).toBe(false);
});
