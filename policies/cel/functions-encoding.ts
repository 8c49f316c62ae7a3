/** Encodings and digests. */
import { createHash } from 'node:crypto';
import { CelScalar, celFunc, isCelList, mapType } from '@bufbuild/cel';
import type { CelFunc, CelMap, CelValue } from '@bufbuild/cel';
import { spend, stepsForText } from './bounds.ts';
import { listOf, mapOf } from './collections.ts';
import type { MapKey } from './collections.ts';
import { jsonText } from './plain.ts';
import { reveal } from './secrets.ts';

const { BYTES, DYN, STRING } = CelScalar;
const MAP = mapType(DYN, DYN);

const bytesOf = (value: string | Uint8Array): Buffer => (typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value));

/** One function, for text and for bytes. */
const ofBoth = (name: string, encode: (value: string | Uint8Array) => string): CelFunc[] => [celFunc(name, [STRING], STRING, encode), celFunc(name, [BYTES], STRING, encode)];

const digest = (name: 'md5' | 'sha1' | 'sha256'): CelFunc[] => ofBoth(`${name}.encode`, (value) => createHash(name).update(value).digest('hex'));

/** Node passes over what is not base64; a rule must not. Both alphabets, padded or not. */
function base64(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$|^[A-Za-z0-9_-]*={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1) throw new Error('not base64');
  return Buffer.from(text, 'base64');
}

/** The forms of `URLSearchParams`: a list is a name that comes more than once. */
function formText(map: CelMap): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of map) for (const one of isCelList(value) ? value : [value]) pairs.append(String(name), formValue(one));
  return pairs.toString();
}

function formValue(value: CelValue): string {
  const plain = reveal(value);
  return typeof plain === 'string' ? plain : jsonText(plain);
}

function formMap(text: string): CelMap {
  spend(8 * stepsForText(text.length));
  const entries = new Map<MapKey, CelValue>();
  const pairs = new URLSearchParams(text);
  const names = new Set(pairs.keys());
  spend(pairs.size);
  const gathered = new Map<string, string[]>([...names].map((name) => [name, []]));
  for (const [name, value] of pairs) gathered.get(name)?.push(value);
  for (const [name, values] of gathered) entries.set(name, formEntry(values));
  return mapOf(entries);
}

const formEntry = (values: readonly string[]): CelValue => (values.length === 1 ? (values[0] ?? '') : listOf(values));

/** What `encodeURIComponent` leaves out of RFC 3986. */
const percent = (text: string): string => encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

export const encodingFunctions: readonly CelFunc[] = [
  ...ofBoth('base64.encode', (value) => bytesOf(value).toString('base64')),
  celFunc('base64.decode', [STRING], BYTES, base64),
  celFunc('base64.decode', [BYTES], BYTES, (bytes) => base64(Buffer.from(bytes).toString('latin1'))),
  celFunc('url.encode', [STRING], STRING, percent),
  celFunc('url.decode', [STRING], STRING, (text) => decodeURIComponent(text)),
  celFunc('form.encode', [MAP], STRING, formText),
  celFunc('form.decode', [STRING], MAP, formMap),
  ...digest('sha1'),
  ...digest('sha256'),
  ...digest('md5'),
];
