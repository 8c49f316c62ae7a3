/**
 * What a function cannot do, because it would see only values: try an expression that may fail, or name a value in one.
 * These are written out into loops, the only construct of CEL that survives an error and binds a name.
 *
 *   default(a, b)  coalesce(a, b, …)  x.with(name, e)  m.mapValues(v, e)  m.filterKeys(k, e)  m.removeKeys(k, e)
 */
import { EXPRESSION_DEPTH_MAX } from './bounds.ts';
import { ProblemAt } from './problem.ts';
import { at, bind, call, children, constant, fold, ident, list, mapChildren } from './syntax.ts';
import type { Call, Expr } from './syntax.ts';

/** Names of functions that expressions cannot write. They are implemented in `functions-internal.ts`. */
export const INTERNAL = { failed: '@failed', newMap: '@new_map', put: '@put', newList: '@new_list', append: '@append', range: '@range', step: '@step', variables: '@variables' } as const;

type Expand = (place: Expr, called: Call) => Expr;

const GLOBAL: ReadonlyMap<string, Expand> = new Map<string, Expand>([
  ['default', (place, { args }) => {
    const [value, otherwise] = args;
    if (value === undefined || otherwise === undefined || args.length > 2) throw new ProblemAt(place, 'default() takes an expression and a value to use when it fails');
    return orElse(place, value, otherwise, false);
  }],
  ['variables', (place, { args }) => {
    if (args.length > 0) throw new ProblemAt(place, 'variables() takes no arguments');
    return call(place, INTERNAL.variables, []);
  }],
  ['coalesce', (place, { args }) => {
    if (args.length === 0) throw new ProblemAt(place, 'coalesce() takes at least one expression');
    const last = constant(place, { case: 'nullValue', value: 0 });
    return args.reduceRight((otherwise, value) => orElse(place, value, otherwise, true), last);
  }],
]);

const ON_VALUE: ReadonlyMap<string, Expand> = new Map<string, Expand>([
  ['with', (place, called) => {
    const { target, name, body } = named(place, called, 'with');
    return bind(place, name, target, body);
  }],
  ['mapValues', (place, called) => {
    const { target, name, body } = named(place, called, 'mapValues');
    return overMap(place, target, '@key', call(place, INTERNAL.put, [ident(place, '@map'), ident(place, '@key'), bind(place, name, entry(place, '@key'), body)]));
  }],
  ['filterKeys', (place, called) => {
    const { target, name, body } = named(place, called, 'filterKeys');
    return overMap(place, target, name, choose(place, body, kept(place, name), ident(place, '@map')));
  }],
  ['removeKeys', (place, called) => {
    const { target, name, body } = named(place, called, 'removeKeys');
    return overMap(place, target, name, choose(place, body, ident(place, '@map'), kept(place, name)));
  }],
]);

/** The library writes these out itself; what is left of them has the wrong arguments. */
const LOOPS = new Set(['map', 'filter', 'all', 'exists', 'exists_one', 'existsOne']);

export const isMacro = (name: string): boolean => GLOBAL.has(name) || ON_VALUE.has(name) || LOOPS.has(name) || name === 'has';

export function expandMacros(expr: Expr, depth = 0): Expr {
  if (depth > EXPRESSION_DEPTH_MAX) throw new ProblemAt(expr, `the expression is nested more than ${EXPRESSION_DEPTH_MAX} levels deep`);
  const inner = mapChildren(expr, (part) => expandMacros(part, depth + 1));
  if (inner.exprKind.case !== 'callExpr') return inner;
  const called = inner.exprKind.value;
  const expand = called.target === undefined ? GLOBAL.get(called.function) : ON_VALUE.get(called.function);
  if (expand !== undefined) return expand(inner, called);
  if (called.target !== undefined && LOOPS.has(called.function)) throw new ProblemAt(inner, `${called.function}() takes a name and an expression about it`);
  if (called.target === undefined && called.function === 'has') throw new ProblemAt(inner, 'has() takes a field, as in has(jwt.email)');
  return inner;
}

function named(place: Expr, { target, args }: Call, macro: string): { readonly target: Expr; readonly name: string; readonly body: Expr } {
  const [variable, body] = args;
  if (target === undefined || body === undefined || args.length > 2 || variable?.exprKind.case !== 'identExpr') {
    throw new ProblemAt(place, `${macro}() takes a name and an expression about it`);
  }
  return { target, name: variable.exprKind.value.name, body };
}

/** The loop's step may leave an error in `@tried`; whether it did is asked of a function that errors pass through. */
function orElse(place: Expr, value: Expr, otherwise: Expr, nullToo: boolean): Expr {
  const tried = ident(place, '@tried');
  const failed = call(place, '@not_strictly_false', [call(place, INTERNAL.failed, [tried, constant(place, { case: 'boolValue', value: nullToo })])]);
  return fold(place, {
    iterVar: '@once',
    iterRange: list(place, [constant(place, { case: 'nullValue', value: 0 })]),
    accuVar: '@tried',
    accuInit: constant(place, { case: 'nullValue', value: 0 }),
    loopStep: value,
    result: choose(place, failed, otherwise, tried),
  });
}

const choose = (place: Expr, condition: Expr, yes: Expr, no: Expr): Expr => call(place, '_?_:_', [condition, yes, no]);
const entry = (place: Expr, key: string): Expr => call(place, '_[_]', [ident(place, '@of'), ident(place, key)]);
const kept = (place: Expr, key: string): Expr => call(place, INTERNAL.put, [ident(place, '@map'), ident(place, key), entry(place, key)]);

/** Goes over the keys of a map (`@of`) and makes another (`@map`). */
const overMap = (place: Expr, target: Expr, key: string, loopStep: Expr): Expr =>
  bind(place, '@of', target, fold(place, {
    iterVar: key,
    iterRange: ident(place, '@of'),
    accuVar: '@map',
    accuInit: call(place, INTERNAL.newMap, [ident(place, '@of')]),
    loopStep,
    result: ident(place, '@map'),
  }));

/** A turn of a loop may make an error that the loop swallows, and an error is the dearest of values. */
const TURN_STEPS = 16;

/** Counts every loop's turns and bounds what it goes over. Lists grow in place: joining lists would cost their square. */
export function meterLoops(expr: Expr): Expr {
  const inner = mapChildren(expr, meterLoops);
  if (inner.exprKind.case !== 'comprehensionExpr') return inner;
  const loop = inner.exprKind.value;
  const { iterRange, loopCondition, loopStep, accuInit } = loop;
  if (iterRange === undefined || loopCondition === undefined || loopStep === undefined || accuInit === undefined) return inner;
  const cost = constant(inner, { case: 'int64Value', value: BigInt(size(loopStep) + TURN_STEPS) });
  const grows = loop.accuVar === '@result' && accuInit.exprKind.case === 'listExpr';
  return at(inner, {
    case: 'comprehensionExpr',
    value: {
      ...loop,
      iterRange: call(inner, INTERNAL.range, [iterRange]),
      loopCondition: call(inner, INTERNAL.step, [loopCondition, cost]),
      ...(grows && { accuInit: call(inner, INTERNAL.newList, []), loopStep: growing(loopStep) }),
    },
  });
}

/** Nodes that one turn evaluates; the turns of a loop inside count themselves. */
export function size(expr: Expr): number {
  const parts = expr.exprKind.case === 'comprehensionExpr' ? [expr.exprKind.value.iterRange, expr.exprKind.value.result] : children(expr);
  return parts.reduce((sum, part) => sum + (part === undefined ? 0 : size(part)), 1);
}

/** `@result + [x]`, which only the library's own macros write, as `append(@result, x)`. */
function growing(step: Expr): Expr {
  if (step.exprKind.case !== 'callExpr') return step;
  const called = step.exprKind.value;
  const [first, second] = called.args;
  if (called.function === '_+_' && first?.exprKind.case === 'identExpr' && first.exprKind.value.name === '@result' && second?.exprKind.case === 'listExpr') {
    return call(step, INTERNAL.append, [first, ...second.exprKind.value.elements]);
  }
  if (called.function !== '_?_:_') return step;
  const [condition, ...rest] = called.args;
  return condition === undefined ? step : call(step, '_?_:_', [condition, ...rest.map(growing)]);
}
