/** For logs, which write each field of a map they are given apart: a list, or what is nested, as such a map. */
import { CelScalar, celFunc, isCelList, isCelMap, isCelUint } from '@bufbuild/cel';
import type { CelFunc, CelMap, CelValue } from '@bufbuild/cel';
import { boundedList, boundedText, spend } from './bounds.ts';
import { mapOf } from './collections.ts';
import type { MapKey } from './collections.ts';

const { DYN } = CelScalar;

/** Undefined: it has no fields. */
function fieldsOf(value: CelValue): [string, CelValue][] | undefined {
  if (!isCelList(value) && !isCelMap(value)) return undefined;
  boundedList(value.size);
  spend(value.size);
  if (isCelList(value)) return Array.from(value, (item, index) => [String(index), item]);
  return Array.from(value, ([key, item]) => [String(isCelUint(key) ? key.value : key), item]);
}

function flatten(value: CelValue): CelMap {
  const fields = fieldsOf(value);
  if (fields === undefined) throw new Error('neither a map nor a list');
  return mapOf(new Map<MapKey, CelValue>(fields));
}

/** `{"a": {"b": 1}}` as `{"a.b": 1}`. What is empty has no field that could be written. */
function flattenRecursive(value: CelValue): CelMap {
  const found = new Map<MapKey, CelValue>();
  let chars = 0;
  const add = (fields: readonly [string, CelValue][], prefix: string): void => {
    for (const [name, item] of fields) {
      const path = prefix + name;
      const inner = fieldsOf(item);
      if (inner !== undefined) {
        add(inner, `${path}.`);
        continue;
      }
      boundedText((chars += path.length));
      boundedList(found.size);
      found.set(path, item);
    }
  };
  const fields = fieldsOf(value);
  if (fields === undefined) throw new Error('neither a map nor a list');
  add(fields, '');
  return mapOf(found);
}

export const flattenFunctions: readonly CelFunc[] = [celFunc('flatten', [DYN], DYN, flatten), celFunc('flattenRecursive', [DYN], DYN, flattenRecursive)];
