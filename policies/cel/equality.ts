/**
 * `==`, `!=` and `in`, after the specification: numbers are equal across their types, NaN equals nothing, values of other
 * types are never equal. The library has the same; it does not say what going through deep data costs.
 */
import { isCelList, isCelMap, isCelType, isCelUint } from '@bufbuild/cel';
import type { CelList, CelMap, CelUint, CelValue } from '@bufbuild/cel';
import { spend, stepsForText } from './bounds.ts';
import { opaqueIn } from './opaque.ts';
import { reveal } from './secrets.ts';
import { durationIn, timestampIn } from './time.ts';

export function equal(left: CelValue, right: CelValue): boolean {
  if (left === right) return !isCelList(left) || left.size === 0 || equalLists(left, left);
  if (typeof left === 'string' || typeof right === 'string') return equalSecrets(left, right);
  const [a, b] = [number(left), number(right)];
  // oxlint-disable-next-line eqeqeq -- an int and a double with one value are equal
  if (a !== undefined || b !== undefined) return a !== undefined && b !== undefined && a == b;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  return equalObjects(left, right);
}

const number = (value: CelValue): number | bigint | undefined => {
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  return isCelUint(value) ? value.value : undefined;
};

type CelObject = Extract<CelValue, object>;

function equalObjects(left: CelObject, right: CelObject): boolean {
  if (left instanceof Uint8Array) return right instanceof Uint8Array && equalBytes(left, right);
  if (isCelList(left)) return isCelList(right) && equalLists(left, right);
  if (isCelMap(left)) return isCelMap(right) && equalMaps(left, right);
  if (isCelType(left)) return isCelType(right) && left.kind === right.kind && left.name === right.name;
  return equalMessages(left, right);
}

/** Texts that are not identical; one of them may be a secret. */
function equalSecrets(left: CelValue, right: CelValue): boolean {
  const [a, b] = [reveal(left), reveal(right)];
  if (typeof a !== 'string' || typeof b !== 'string' || a.length !== b.length) return false;
  spend(stepsForText(a.length));
  return a === b;
}

function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  spend(stepsForText(left.length));
  return left.length === right.length && Buffer.compare(left, right) === 0;
}

function equalLists(left: CelList, right: CelList): boolean {
  if (left.size !== right.size) return false;
  spend(left.size);
  for (let index = 0; index < left.size; index++) if (!equal(left.get(index) ?? null, right.get(index) ?? null)) return false;
  return true;
}

function equalMaps(left: CelMap, right: CelMap): boolean {
  if (left.size !== right.size) return false;
  spend(left.size);
  for (const [key, value] of left) {
    const other = right.get(key);
    if (other === undefined || !equal(value, other)) return false;
  }
  return true;
}

/** Timestamps, durations, addresses, networks, secrets: there are no others. */
function equalMessages(left: CelObject, right: CelObject): boolean {
  for (const kind of [timestampIn, durationIn]) {
    const [one, other] = [kind(left), kind(right)];
    if (one !== undefined) return other !== undefined && one.seconds === other.seconds && one.nanos === other.nanos;
  }
  const [a, b] = [opaqueIn(left), opaqueIn(right)];
  if (a === undefined || b === undefined) return false;
  if (a.kind === 'secret' && b.kind === 'secret') return equal(a.value, b.value);
  if (a.kind === 'ip' && b.kind === 'ip') return a.address.toNormalizedString() === b.address.toNormalizedString();
  return a.kind === 'cidr' && b.kind === 'cidr' && a.bits === b.bits && a.address.toNormalizedString() === b.address.toNormalizedString();
}

/** `in`. Undefined: there is nothing to look into. */
export function contains(value: CelValue, container: CelValue): boolean | undefined {
  if (isCelMap(container)) return isKey(value) ? container.get(value) !== undefined : undefined;
  if (!isCelList(container)) return undefined;
  spend(container.size >> 2);
  for (let index = 0; index < container.size; index++) if (equal(container.get(index) ?? null, value)) return true;
  return false;
}

const isKey = (value: CelValue): value is string | boolean | number | bigint | CelUint => typeof value === 'string' || typeof value === 'boolean' || number(value) !== undefined;
