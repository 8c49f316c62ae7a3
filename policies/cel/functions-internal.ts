/** What macros and loops are written out into (`macros.ts`). No expression can write their names. */
import { CelScalar, celFunc, isCelList, isCelMap, listType, mapType } from '@bufbuild/cel';
import type { CelFunc, CelMap, CelValue } from '@bufbuild/cel';
import { boundedList, spend } from './bounds.ts';
import { listOf, mapOf } from './collections.ts';
import type { MapKey } from './collections.ts';
import { variables } from './evaluation.ts';
import { INTERNAL } from './macros.ts';

const { BOOL, DYN, INT } = CelScalar;
const LIST = listType(DYN);
const MAP = mapType(DYN, DYN);

/** A map of them all is made. */
const VARIABLES_STEPS = 128;

/** Lists and maps that still grow. Only the loop that grows one can see it. */
const growingLists = new WeakMap<object, CelValue[]>();
const growingMaps = new WeakMap<object, Map<MapKey, CelValue>>();

function newMap(): CelMap {
  const entries = new Map<MapKey, CelValue>();
  const map = mapOf(entries);
  growingMaps.set(map, entries);
  return map;
}

export const internalFunctions: readonly CelFunc[] = [
  celFunc(INTERNAL.failed, [DYN, BOOL], BOOL, (value, nullToo) => nullToo && value === null),
  celFunc(INTERNAL.newMap, [MAP], MAP, newMap),
  celFunc(INTERNAL.put, [MAP, DYN, DYN], MAP, (map, key, value) => {
    growingMaps.get(map)?.set(key as MapKey, value);
    return map;
  }),
  celFunc(INTERNAL.newList, [], LIST, () => {
    const items: CelValue[] = [];
    const list = listOf(items);
    growingLists.set(list, items);
    return list;
  }),
  celFunc(INTERNAL.append, [LIST, DYN], LIST, (list, item) => {
    growingLists.get(list)?.push(item);
    return list;
  }),
  celFunc(INTERNAL.range, [DYN], DYN, (over) => {
    if (!isCelList(over) && !isCelMap(over)) return over;
    boundedList(over.size);
    spend(over.size);
    return over;
  }),
  celFunc(INTERNAL.variables, [], MAP, () => {
    const all = Object.entries(variables());
    spend(VARIABLES_STEPS);
    return mapOf(new Map(all));
  }),
  celFunc(INTERNAL.step, [DYN, INT], DYN, (goOn, cost) => {
    spend(Number(cost));
    return goOn;
  }),
];
