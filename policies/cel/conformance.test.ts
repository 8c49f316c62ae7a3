/** The specification's own tests, run through our compiler. What is left out is counted and said. */
import { getConformanceSuite } from '@bufbuild/cel-spec/testdata/tests.js';
import type { IncrementalTest, IncrementalTestSuite } from '@bufbuild/cel-spec/testdata/tests.js';
import { describe, expect, test } from 'vitest';
import { compileExpression } from './expression.ts';
import { plain } from './plain.ts';

const deps = { random: () => 0.5 };

const SECTIONS = [
  'basic', 'comparisons', 'conversions', 'fields', 'fp_math', 'integer_math', 'lists', 'logic', 'macros', 'parse', 'string', 'string_ext', 'timestamps', 'math_ext',
];

type Result = IncrementalTest['original']['resultMatcher'];
type Value = Extract<Result, { case: 'value' }>['value'];

/** What `plain` would make of the expected value. Undefined: a message, which we do not have. */
function expected(value: Value): { readonly plain: unknown } | undefined {
  const { kind } = value;
  switch (kind.case) {
    case 'int64Value':
    case 'uint64Value':
      return { plain: plain(kind.value) };
    case 'nullValue':
      return { plain: null };
    case 'boolValue':
    case 'stringValue':
    case 'doubleValue':
      return { plain: kind.value };
    case 'bytesValue':
      return { plain: Buffer.from(kind.value).toString('hex') };
    case 'typeValue':
      return { plain: kind.value };
    case 'listValue': {
      const items = kind.value.values.map(expected);
      return items.includes(undefined) ? undefined : { plain: items.map((item) => item?.plain) };
    }
    case 'mapValue': {
      const entries = kind.value.entries.map(({ key, value: item }) => [key && expected(key), item && expected(item)] as const);
      if (entries.some(([key, item]) => key === undefined || item === undefined)) return undefined;
      return { plain: Object.fromEntries(entries.map(([key, item]) => [String(key?.plain), item?.plain])) };
    }
    default:
      return undefined;
  }
}

const comparable = (value: unknown): unknown => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : Array.isArray(value) ? value.map(comparable) : value);

interface Row {
  readonly name: string;
  readonly expr: string;
  readonly want: { readonly plain: unknown } | 'error';
}

function rowsOf(suite: IncrementalTestSuite, path: string): Row[] {
  const own = suite.tests.flatMap(({ original }): Row[] => {
    if (original.disableMacros || original.checkOnly || original.container !== '' || Object.keys(original.bindings).length > 0) return [];
    const { resultMatcher } = original;
    const want = resultMatcher.case === undefined ? { plain: true } : resultMatcher.case === 'value' ? expected(resultMatcher.value) : resultMatcher.case === 'evalError' ? 'error' : undefined;
    return want === undefined ? [] : [{ name: `${path}/${original.name}`, expr: original.expr, want }];
  });
  return [...own, ...suite.suites.flatMap((inner) => rowsOf(inner, `${path}/${inner.name}`))];
}

/** What we do otherwise, on purpose. */
const LEFT_OUT: readonly (readonly [part: 'name' | 'expr', pattern: RegExp])[] = [
  ['expr', /google\.protobuf\.(?!Timestamp$|Duration$)|TestAllTypes/], // no messages
  ['expr', /`/], // no names in backticks
  ['name', /unbound_is_runtime_error|receiver_function_names|qualified_identifier_resolution/], // an unknown name is a problem when it is compiled
  ['name', /^math_ext\/(?:ceil|floor|round|trunc)\/dyn_error$/], // a JSON number may be an int: rounding takes it
];

const suites = getConformanceSuite().suites.filter(({ name }) => SECTIONS.includes(name));
const rows = suites.flatMap((suite) => rowsOf(suite, suite.name)).filter((row) => !LEFT_OUT.some(([part, pattern]) => pattern.test(row[part])));

function outcome(expr: string): unknown {
  const compiled = compileExpression(expr, { deps });
  if (!compiled.ok) return 'error';
  const result = compiled.expression.evaluate({});
  return result.ok ? { plain: comparable(result.value) } : 'error';
}

describe('the tests of the specification', () => {
  test('are there: more than a thousand expressions, of every section', () => {
    expect(suites.map(({ name }) => name).toSorted()).toEqual(SECTIONS.toSorted());
    expect(rows.length).toBeGreaterThan(1000);
  });

  test.each(rows)('$name', ({ expr, want }) => {
    expect(outcome(expr)).toEqual(want);
  });
});
