/**
 * What an expression reads, so that a caller gathers only that: a body is not buffered for a rule that looks at a header.
 * A path ends where the expression computes which part it wants; then all of it is read.
 */
import type { Vocabulary } from './language.ts';
import { INTERNAL } from './macros.ts';
import { children } from './syntax.ts';
import type { Call, Expr } from './syntax.ts';
import { isVariableName } from './variables.ts';
import type { VariableName } from './variables.ts';

/** `['jwt', 'groups']`. Names of headers are in lower case. */
export type CapturePath = readonly [VariableName, ...string[]];

export interface Captures {
  readonly variables: readonly VariableName[];
  /** None of them begins with another. */
  readonly paths: readonly CapturePath[];
  /** Whether anything at, above or below the path is read. */
  reads(...path: CapturePath): boolean;
}

interface Scope {
  readonly vocabulary: Pick<Vocabulary, 'readsOf'>;
  /** Those there are. */
  readonly variables: readonly VariableName[];
  /** Names that stand for something else from the beginning. */
  readonly bound?: ReadonlySet<string>;
}

export function capturesOf(expr: Expr, scope: Scope): Captures {
  const found: CapturePath[] = [];
  gather(expr, scope.bound ?? new Set(), { found, scope });
  const paths = found.filter((path, index) => !found.some((other, at) => begins(path, other) && (other.length < path.length || at < index)));
  return {
    variables: [...new Set(paths.map(([name]) => name))],
    paths,
    reads: (...path) => paths.some((captured) => begins(captured, path) || begins(path, captured)),
  };
}

const begins = (path: CapturePath, start: CapturePath): boolean => start.every((step, index) => path[index] === step);

interface Gathering {
  readonly found: CapturePath[];
  readonly scope: Scope;
}

function gather(expr: Expr, bound: ReadonlySet<string>, gathering: Gathering): void {
  const whole = pathOf(expr, bound);
  const { found } = gathering;
  if (whole !== undefined) found.push(whole);
  const { exprKind } = expr;
  if (exprKind.case === 'callExpr') found.push(...readsOfCall(exprKind.value, gathering.scope));
  if (exprKind.case === 'comprehensionExpr') {
    const { iterVar, accuVar, iterRange, accuInit, loopCondition, loopStep, result } = exprKind.value;
    const inside = new Set([...bound, accuVar, iterVar]);
    for (const part of [iterRange, accuInit]) if (part !== undefined) gather(part, bound, gathering);
    for (const part of [loopCondition, loopStep]) if (part !== undefined) gather(part, inside, gathering);
    if (result !== undefined) gather(result, new Set([...bound, accuVar]), gathering);
    return;
  }
  const parts = children(expr);
  if (whole === undefined) return parts.forEach((part) => gather(part, bound, gathering));
  gatherKeys(expr, bound, gathering);
}

const readsOfCall = ({ function: name, target }: Call, { vocabulary, variables }: Scope): readonly CapturePath[] =>
  name === INTERNAL.variables ? variables.map((variable): CapturePath => [variable]) : vocabulary.readsOf(name, target !== undefined);


/** What is computed inside the brackets of a path. */
function gatherKeys(expr: Expr, bound: ReadonlySet<string>, gathering: Gathering): void {
  const { exprKind } = expr;
  if (exprKind.case === 'selectExpr' && exprKind.value.operand !== undefined) gatherKeys(exprKind.value.operand, bound, gathering);
  if (exprKind.case !== 'callExpr') return;
  const [operand, key] = exprKind.value.args;
  if (operand !== undefined) gatherKeys(operand, bound, gathering);
  if (key !== undefined) gather(key, bound, gathering);
}

/** Undefined: the expression is not a variable or a part of one. */
export function pathOf(expr: Expr, bound: ReadonlySet<string>): CapturePath | undefined {
  return exactPath(expr, bound)?.path;
}

/** `open`: fields that follow belong to the path. */
function exactPath(expr: Expr, bound: ReadonlySet<string>): { readonly path: CapturePath; readonly open: boolean } | undefined {
  const { exprKind } = expr;
  if (exprKind.case === 'identExpr') {
    const name = exprKind.value.name.replace(/^\./, '');
    return !bound.has(exprKind.value.name) && isVariableName(name) ? { path: [name], open: true } : undefined;
  }
  if (exprKind.case === 'selectExpr') return extended(exprKind.value.operand, exprKind.value.field, bound);
  if (exprKind.case !== 'callExpr' || exprKind.value.function !== '_[_]') return undefined;
  const [operand, key] = exprKind.value.args;
  const literal = key?.exprKind.case === 'constExpr' && key.exprKind.value.constantKind.case === 'stringValue' ? key.exprKind.value.constantKind.value : undefined;
  return extended(operand, literal, bound);
}

/** Whose names are the same however they are spelled. */
const HEADERS: ReadonlySet<string> = new Set(['request.headers', 'source.connectHeaders']);

function extended(operand: Expr | undefined, step: string | undefined, bound: ReadonlySet<string>): { readonly path: CapturePath; readonly open: boolean } | undefined {
  const outer = operand === undefined ? undefined : exactPath(operand, bound);
  if (outer === undefined || !outer.open) return outer;
  if (step === undefined) return { path: outer.path, open: false };
  return { path: [...outer.path, HEADERS.has(outer.path.join('.')) ? step.toLowerCase() : step], open: true };
}
