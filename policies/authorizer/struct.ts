/** JSON as google.protobuf.Struct has it, and back. */

/** As proto-loader reads and writes one (keepCase, oneofs). */
export interface Struct {
  readonly fields?: Readonly<Record<string, StructValue>> | undefined;
}

export interface StructValue {
  readonly kind?: string | undefined;
  readonly nullValue?: number | string;
  readonly numberValue?: number;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly structValue?: Struct;
  readonly listValue?: { readonly values?: readonly StructValue[] };
}

const DEPTH_MAX = 32;

/** @throws RangeError when it is nested deeper than DEPTH_MAX. */
export function jsonOfStruct({ fields = {} }: Struct, depth = 0): Record<string, unknown> {
  if (depth > DEPTH_MAX) throw new RangeError('nested too deeply');
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, jsonOfValue(value, depth)]));
}

function jsonOfValue({ kind, numberValue, stringValue, boolValue, structValue, listValue }: StructValue, depth: number): unknown {
  switch (kind) {
    case 'numberValue':
      return numberValue;
    case 'stringValue':
      return stringValue;
    case 'boolValue':
      return boolValue;
    case 'structValue':
      return jsonOfStruct(structValue ?? {}, depth + 1);
    case 'listValue':
      if (depth >= DEPTH_MAX) throw new RangeError('nested too deeply');
      return (listValue?.values ?? []).map((value) => jsonOfValue(value, depth + 1));
    default:
      return null;
  }
}

/** @param value as JSON.parse makes one. */
export const structOf = (value: object): Struct => ({ fields: Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, valueOf(inner)])) });

function valueOf(value: unknown): StructValue {
  switch (typeof value) {
    case 'string':
      return { stringValue: value };
    case 'number':
      return { numberValue: value };
    case 'boolean':
      return { boolValue: value };
    case 'object':
      if (value === null) break;
      return Array.isArray(value) ? { listValue: { values: value.map(valueOf) } } : { structValue: structOf(value) };
    default:
  }
  return { nullValue: 0 };
}
