/** Functions over JSON, maps and lists, and those that make something out of nothing. */
import { CelScalar, celFunc, celMethod, isCelList, isCelMap, isCelUint, listType, mapType, objectType } from '@bufbuild/cel';
import type { CelFunc, CelList, CelValue } from '@bufbuild/cel';
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { boundedList, boundedText, spend, stepsForText } from './bounds.ts';
import { celValue, mapOf } from './collections.ts';
import { deps } from './evaluation.ts';
import { jsonText } from './plain.ts';
import { reveal } from './secrets.ts';

const { BYTES, DOUBLE, DYN, INT, STRING } = CelScalar;
const TIMESTAMP = objectType(TimestampSchema);
const LIST = listType(DYN);
const MAP = mapType(DYN, DYN);

const parse = (text: string): CelValue => {
  spend(4 * stepsForText(text.length));
  return celValue(JSON.parse(text)) ?? null;
};

function uuid(): string {
  const bytes = Buffer.from(Array.from({ length: 16 }, () => Math.floor(deps().random() * 256)));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The claims of a token nobody verified. They are as little a secret as those of `jwt` are. */
function unvalidatedClaims(token: CelValue): CelValue {
  const text = reveal(token);
  if (typeof text !== 'string') throw new Error('not a token');
  spend(4 * stepsForText(text.length));
  const [, payload, signature] = text.split('.');
  if (payload === undefined || signature === undefined) throw new Error('not a token');
  const claims = celValue(JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')));
  if (!isCelMap(claims)) throw new Error('not a token');
  return claims;
}

/** The years 1 to 9999. */
function secondsInRange(seconds: bigint): number {
  if (seconds < -62_135_596_800n || seconds > 253_402_300_799n) throw new Error('timestamp out of range');
  return Number(seconds);
}

/** For `max` and `min`: the first of equal ones. */
function most(items: Iterable<CelValue>, better: (one: number | bigint, than: number | bigint) => boolean): CelValue {
  let found: CelValue | undefined;
  for (const item of items) if (found === undefined || better(numberIn(item), numberIn(found))) found = item;
  if (found === undefined) throw new Error('no items');
  numberIn(found);
  return found;
}

function numberIn(value: CelValue): number | bigint {
  if (isCelUint(value)) return value.value;
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  throw new Error('not a number');
}

/** CEL has no functions that take any number of arguments: one for each number there is. */
export const ARGUMENTS_MAX = 10;

function extreme(name: string, better: (one: number | bigint, than: number | bigint) => boolean): CelFunc[] {
  const several = Array.from({ length: ARGUMENTS_MAX - 1 }, (_, index) => Array.from({ length: index + 2 }, () => DYN));
  const one = celFunc(name, [DYN], DYN, (value) => most(isCelList(value) ? value : [value], better));
  return [one, ...several.map((args) => celFunc(name, args, DYN, (...values: CelValue[]) => most(values, better)))];
}

const larger = (one: number | bigint, than: number | bigint): boolean => one > than;
const smaller = (one: number | bigint, than: number | bigint): boolean => one < than;

function joinLists(left: CelList, right: CelList): CelList | CelValue[] {
  if (left.size === 0) return right;
  if (right.size === 0) return left;
  boundedList(left.size + right.size);
  spend(left.size + right.size);
  return [...left, ...right];
}

export const valueFunctions: readonly CelFunc[] = [
  celFunc('json', [STRING], DYN, parse),
  celFunc('json', [BYTES], DYN, (bytes) => parse(Buffer.from(bytes).toString('utf8'))),
  celFunc('toJson', [DYN], STRING, (value) => jsonText(value)),
  celFunc('unvalidatedJwtPayload', [DYN], DYN, unvalidatedClaims),
  celMethod('merge', MAP, [MAP], MAP, function (other) {
    spend(this.size + other.size);
    return mapOf(new Map([...this, ...other]));
  }),
  ...extreme('max', larger),
  ...extreme('min', smaller),
  ...extreme('math.greatest', larger),
  ...extreme('math.least', smaller),
  celFunc('_+_', [LIST, LIST], LIST, joinLists),
  celFunc('fail', [], DYN, () => {
    throw new Error('fail() was called');
  }),
  celFunc('fail', [STRING], DYN, (message) => {
    boundedText(message.length);
    throw new Error('fail() was called');
  }),
  // the library takes milliseconds; the specification, and `exp` and `iat` of a token, mean seconds
  celFunc('timestamp', [INT], TIMESTAMP, (seconds) => timestampFromMs(secondsInRange(seconds) * 1000)),
  celFunc('random', [], DOUBLE, () => deps().random()),
  celFunc('uuid', [], STRING, uuid),
];
