/** Functions over text, among them those of the library whose cost or strictness is not ours. */
import { CelScalar, celFunc, celMethod, celUint, listType } from '@bufbuild/cel';
import type { CelFunc, CelList } from '@bufbuild/cel';
import { boundedList, boundedText, spend, stepsForSearch, stepsForText } from './bounds.ts';
import { matches } from './regex.ts';
import { replacePattern } from './regex-replace.ts';

const { BOOL, BYTES, DOUBLE, INT, STRING, UINT } = CelScalar;
const STRINGS = listType(STRING);

function join(items: CelList, separator: string): string {
  const parts: string[] = [];
  let chars = 0;
  for (const item of items) {
    if (typeof item !== 'string') throw new Error('join() takes texts only');
    chars += item.length + separator.length;
    boundedText(chars);
    spend(stepsForText(chars) - stepsForText(chars - item.length - separator.length));
    parts.push(item);
  }
  return parts.join(separator);
}

/** At most `limit` parts, of which the last is what is left; a negative limit is none. */
function split(text: string, separator: string, limit: bigint): string[] {
  spend(stepsForSearch(text.length, separator.length));
  if (limit === 0n) return [];
  const parts = separator === '' ? [...text] : text.split(separator);
  boundedList(parts.length);
  spend(parts.length);
  const kept = Number(limit);
  return limit < 0n || parts.length <= kept ? parts : [...parts.slice(0, kept - 1), parts.slice(kept - 1).join(separator)];
}

function replace(text: string, sought: string, by: string, limit: bigint): string {
  spend(stepsForSearch(text.length, sought.length));
  if (sought === '' || limit === 0n) return text;
  const parts = text.split(sought);
  const count = limit < 0n ? parts.length - 1 : Math.min(Number(limit), parts.length - 1);
  boundedText(text.length + count * (by.length - sought.length));
  spend(stepsForText(8 * parts.length) + stepsForText(count * by.length));
  return `${parts.slice(0, count + 1).join(by)}${parts.slice(count + 1).map((part) => sought + part).join('')}`;
}

function search(text: string, sought: string): string {
  spend(stepsForSearch(text.length, sought.length));
  return text;
}

function characters(text: string): bigint {
  spend(4 * stepsForText(text.length));
  let pairs = 0;
  for (let index = 0; index + 1 < text.length; index++) {
    if ((text.charCodeAt(index) & 0xfc00) === 0xd800 && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00) pairs += 1;
  }
  return BigInt(text.length - pairs);
}

function concat(left: string, right: string): string {
  boundedText(left.length + right.length);
  spend(stepsForText(right.length));
  return left + right;
}

/** `BigInt` and `Number` would take "", " 1 " and "0x10". */
function whole(text: string, pattern: RegExp): bigint {
  if (text.length > 24 || !pattern.test(text)) throw new Error('not a whole number');
  return BigInt(text);
}

function int(text: string): bigint {
  const value = whole(text, /^-?\d+$/);
  if (value !== BigInt.asIntN(64, value)) throw new Error('not an int');
  return value;
}

function uint(text: string): bigint {
  const value = whole(text, /^\d+$/);
  if (value !== BigInt.asUintN(64, value)) throw new Error('not a uint');
  return value;
}

function double(text: string): number {
  if (!/^[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)$/i.test(text)) throw new Error('not a number');
  if (/inf/i.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

export const textFunctions: readonly CelFunc[] = [
  celFunc('_+_', [STRING, STRING], STRING, concat),
  celFunc('_+_', [BYTES, BYTES], BYTES, (left, right) => {
    boundedText(left.length + right.length);
    return Buffer.concat([left, right]);
  }),
  celFunc('size', [STRING], INT, characters),
  celMethod('size', STRING, [], INT, function () { return characters(this); }),
  celMethod('contains', STRING, [STRING], BOOL, function (sought) { return search(this, sought).includes(sought); }),
  celMethod('indexOf', STRING, [STRING], INT, function (sought) { return BigInt(search(this, sought).indexOf(sought)); }),
  celMethod('lastIndexOf', STRING, [STRING], INT, function (sought) { return BigInt(search(this, sought).lastIndexOf(sought)); }),
  celMethod('matches', STRING, [STRING], BOOL, function (pattern) { return matches(this, pattern); }),
  celFunc('matches', [STRING, STRING], BOOL, matches),
  celMethod('regexReplace', STRING, [STRING, STRING], STRING, function (pattern, by) { return replacePattern(this, pattern, by); }),
  celMethod('stripPrefix', STRING, [STRING], STRING, function (prefix) { return this.startsWith(prefix) ? this.slice(prefix.length) : String(this); }),
  celMethod('stripSuffix', STRING, [STRING], STRING, function (suffix) { return this.endsWith(suffix) ? this.slice(0, this.length - suffix.length) : String(this); }),
  celMethod('join', STRINGS, [], STRING, function () { return join(this, ''); }),
  celMethod('join', STRINGS, [STRING], STRING, function (separator) { return join(this, separator); }),
  celMethod('split', STRING, [STRING], STRINGS, function (separator) { return split(this, separator, -1n); }),
  celMethod('split', STRING, [STRING, INT], STRINGS, function (separator, limit) { return split(this, separator, limit); }),
  celMethod('replace', STRING, [STRING, STRING], STRING, function (sought, by) { return replace(this, sought, by, -1n); }),
  celMethod('replace', STRING, [STRING, STRING, INT], STRING, function (sought, by, limit) { return replace(this, sought, by, limit); }),
  celFunc('int', [STRING], INT, int),
  celFunc('uint', [STRING], UINT, (text) => celUint(uint(text))),
  celFunc('double', [STRING], DOUBLE, double),
];
