/**
 * Lists and maps of expressions. What comes from outside is not copied: it is looked at through a view, and each element
 * becomes a CEL value when it is read. Reading costs steps, so an expression pays for the data it goes through.
 *
 * JSON knows one kind of number. A whole one (up to 2^53) is an `int` here, so that `jwt.level + 1` and `amount > 100`
 * mean what they say; any other is a `double`. Only an object's own properties are seen, never its prototype's.
 */
import { celList, celMap, isCelList, isCelMap, isCelType, isCelUint } from '@bufbuild/cel';
import type { CelInput, CelList, CelMap, CelUint, CelValue } from '@bufbuild/cel';
import { isReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { TimestampSchema, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { spend } from './bounds.ts';

export type MapKey = bigint | string | boolean | CelUint;
export type Entries = ReadonlyMap<MapKey, CelValue>;

/** Fields of an object that are shown otherwise than as plain JSON. */
export type FieldViews = Readonly<Record<string, (value: unknown) => CelValue | undefined>>;

/** A JSON value, a Date, bytes, or a CEL value as it is. `undefined` for what is none of these. */
export function celValue(value: unknown): CelValue | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return value;
    case 'number':
      return Number.isSafeInteger(value) ? BigInt(value) : value;
    case 'object':
      return value === null ? null : celObject(value);
    default:
      return undefined;
  }
}

function celObject(value: object): CelValue {
  if (Array.isArray(value)) return viewOfList(value);
  if (value instanceof Uint8Array || isCelList(value) || isCelMap(value) || isCelUint(value) || isCelType(value) || isReflectMessage(value)) return value;
  if (value instanceof Date) return reflect(TimestampSchema, timestampFromDate(value));
  return viewOfObject(value as Readonly<Record<string, unknown>>);
}

/** A list of CEL values. */
export const listOf = (items: readonly CelValue[]): CelList => viewOfList(items);

function viewOfList(items: readonly unknown[]): CelList {
  const at = (index: number): CelValue | undefined => {
    if (index < 0 || index >= items.length) return undefined;
    spend(1);
    return celValue(items[index]) ?? null;
  };
  function* values(): Generator<CelValue, undefined> {
    for (let index = 0; index < items.length; index++) yield at(index) ?? null;
  }
  return Object.assign(celList(items as readonly CelInput[]), { get: at, values, [Symbol.iterator]: values });
}

/** A map of CEL values. The library's own holds that a key whose value is null is missing. */
export const mapOf = (entries: Entries): CelMap => {
  const map = celMap(entries);
  return Object.assign(map, { has: (key: MapKey | number) => map.get(key) !== undefined });
};

export const viewOfObject = (object: Readonly<Record<string, unknown>>, views: FieldViews = {}): CelMap => mapOf(new ObjectEntries(object, views));

/** The own properties of an object, as a map with the text keys of JSON. */
class ObjectEntries implements Entries {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #views: FieldViews;

  constructor(object: Readonly<Record<string, unknown>>, views: FieldViews) {
    this.#object = object;
    this.#views = views;
  }

  get size(): number {
    return this.#names().length;
  }

  get(key: MapKey): CelValue | undefined {
    if (typeof key !== 'string' || !Object.hasOwn(this.#object, key)) return undefined;
    spend(1);
    const value = this.#object[key];
    if (value === undefined) return undefined;
    return Object.hasOwn(this.#views, key) ? this.#views[key]?.(value) : celValue(value);
  }

  has(key: MapKey): boolean {
    return this.get(key) !== undefined;
  }

  #names(): string[] {
    const names = Object.keys(this.#object).filter((name) => this.#object[name] !== undefined);
    spend(names.length);
    return names;
  }

  keys(): MapIterator<MapKey> {
    return this.#names().values() as MapIterator<MapKey>;
  }

  *entries(): MapIterator<[MapKey, CelValue]> {
    for (const name of this.#names()) yield [name, this.get(name) ?? null];
  }

  *values(): MapIterator<CelValue> {
    for (const name of this.#names()) yield this.get(name) ?? null;
  }

  forEach(visit: (value: CelValue, key: MapKey, map: Entries) => void): void {
    for (const [name, value] of this.entries()) visit(value, name, this);
  }

  [Symbol.iterator](): MapIterator<[MapKey, CelValue]> {
    return this.entries();
  }
}
