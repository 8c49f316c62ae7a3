/**
 * What a configuration must be told before it runs: names nobody knows. The library finds out when an expression is
 * evaluated, and then every call is denied by a spelling mistake.
 */
import { closest, distance } from 'fastest-levenshtein';
import { pathOf } from './captures.ts';
import { compilePattern } from './regex.ts';
import { TYPE_NAMES, type Vocabulary } from './language.ts';
import { isMacro } from './macros.ts';
import { ProblemAt } from './problem.ts';
import { children } from './syntax.ts';
import type { Call, Comprehension, Expr } from './syntax.ts';
import { NOT_YET, VARIABLE_NAMES, fieldProblem, isVariableName } from './variables.ts';
import type { VariableName } from './variables.ts';

/** Written by the library and by macros; none takes part in this check. */
const SPECIAL = new Set(['_[_]', '_?_:_', '_&&_', '_||_']);
const MESSAGE_TYPES = new Set(['google.protobuf.Timestamp', 'google.protobuf.Duration']);

export interface Scope {
  readonly vocabulary: Vocabulary;
  /** Those there are a value for. */
  readonly variables: readonly VariableName[];
  /** Names that stand for something else. */
  readonly bound?: ReadonlySet<string>;
}

const NOTHING: ReadonlySet<string> = new Set();

/** Throws `ProblemAt` for the first thing that is wrong. `expr` has its macros written out. */
export function check(expr: Expr, scope: Scope): void {
  const { exprKind } = expr;
  switch (exprKind.case) {
    case 'identExpr':
      return checkVariable(expr, exprKind.value.name, scope);
    case 'selectExpr':
      if (MESSAGE_TYPES.has(qualifiedName(expr) ?? '')) return;
      checkField(expr, scope);
      break;
    case 'structExpr':
      if (exprKind.value.messageName !== '') throw new ProblemAt(expr, 'messages cannot be made: use a map, timestamp() or duration()');
      break;
    case 'callExpr': {
      const qualified = checkCall(expr, exprKind.value, scope);
      if (qualified) return exprKind.value.args.forEach((arg) => check(arg, scope));
      checkField(expr, scope);
      break;
    }
    case 'comprehensionExpr':
      return checkLoop(exprKind.value, scope);
    default:
  }
  for (const part of children(expr)) check(part, scope);
}

function checkLoop({ iterVar, accuVar, iterRange, accuInit, loopCondition, loopStep, result }: Comprehension, scope: Scope): void {
  const withAccu = { ...scope, bound: new Set([...(scope.bound ?? NOTHING), accuVar]) };
  const inside = { ...scope, bound: new Set([...withAccu.bound, iterVar]) };
  for (const [part, names] of [[iterRange, scope], [accuInit, scope], [loopCondition, inside], [loopStep, inside], [result, withAccu]] as const) {
    if (part !== undefined) check(part, names);
  }
}

function checkField(place: Expr, { bound = NOTHING }: Scope): void {
  const path = pathOf(place, bound);
  const problem = path === undefined ? undefined : fieldProblem(path);
  if (problem === undefined) return;
  throw new ProblemAt(place, 'why' in problem ? `${problem.name} is not available: ${problem.why}` : `${problem.of} has no ${quoted(problem.name)}${hint(problem.name, problem.known)}`);
}

function checkVariable(place: Expr, written: string, { variables, bound = NOTHING }: Scope): void {
  const name = written.replace(/^\./, '');
  if (bound.has(written) || TYPE_NAMES.has(name)) return;
  if (!isVariableName(name)) {
    const later = Object.hasOwn(NOT_YET, name) ? NOT_YET[name] : undefined;
    throw new ProblemAt(place, later === undefined ? `unknown variable ${quoted(name)}${hint(name, VARIABLE_NAMES)}` : `${name} is not available: ${later}`);
  }
  if (!variables.includes(name)) throw new ProblemAt(place, `${name} is not available here: only ${variables.join(', ')}`);
}

/** Whether the target is part of the function's name, as in `base64.encode(x)`. */
function checkCall(place: Expr, called: Call, { vocabulary, variables }: Scope): boolean {
  const { target, args } = called;
  if (called.function === 'matches') checkPattern(place, args.at(-1));
  if (called.function === 'regexReplace') checkPattern(place, args[0]);
  if (called.function.startsWith('@') || SPECIAL.has(called.function)) return false;
  const prefix = target === undefined ? undefined : qualifiedName(target);
  const qualified = prefix === undefined ? undefined : vocabulary.signatureOf(`${prefix}.${called.function}`);
  if (qualified !== undefined) {
    checkArguments(place, `${prefix}.${called.function}`, qualified.global, args.length);
    return true;
  }
  const signature = vocabulary.signatureOf(called.function);
  if (signature === undefined) throw new ProblemAt(place, unknownFunction(called.function, prefix, vocabulary.names));
  const [fitting, other] = target === undefined ? [signature.global, signature.onValue] : [signature.onValue, signature.global];
  if (fitting.length === 0 && other.length > 0) {
    throw new ProblemAt(place, target === undefined ? `${called.function}() is called on a value: x.${called.function}()` : `${called.function}() is not called on a value: ${called.function}(x)`);
  }
  checkArguments(place, called.function, fitting, args.length);
  const missing = vocabulary.readsOf(called.function, target !== undefined).find(([variable]) => !variables.includes(variable));
  if (missing !== undefined) throw new ProblemAt(place, `${called.function}() reads ${missing[0]}, which is not available here: only ${variables.join(', ')}`);
  return false;
}

function unknownFunction(name: string, prefix: string | undefined, names: readonly string[]): string {
  if (isMacro(name)) return `${name}() is not called this way`;
  const full = prefix !== undefined && names.some((known) => known.startsWith(`${prefix}.`)) ? `${prefix}.${name}` : name;
  return `unknown function ${quoted(full)}${hint(full, names)}`;
}

function checkArguments(place: Expr, name: string, fitting: readonly number[], given: number): void {
  if (fitting.includes(given) || !/^[A-Za-z]/.test(name)) return;
  throw new ProblemAt(place, `${name}() takes ${fitting.join(' or ')} argument${fitting.length === 1 && fitting[0] === 1 ? '' : 's'}, not ${given}`);
}

/** A pattern that is written out is compiled now. */
function checkPattern(place: Expr, pattern: Expr | undefined): void {
  if (pattern?.exprKind.case !== 'constExpr' || pattern.exprKind.value.constantKind.case !== 'stringValue') return;
  try {
    compilePattern(pattern.exprKind.value.constantKind.value);
  } catch {
    throw new ProblemAt(pattern.id === 0n ? place : pattern, 'not a regular expression of RE2, or one that is too large');
  }
}

function qualifiedName(expr: Expr): string | undefined {
  const { exprKind } = expr;
  if (exprKind.case === 'identExpr') return exprKind.value.name;
  if (exprKind.case !== 'selectExpr' || exprKind.value.testOnly || exprKind.value.operand === undefined) return undefined;
  const outer = qualifiedName(exprKind.value.operand);
  return outer === undefined ? undefined : `${outer}.${exprKind.value.field}`;
}

const NAME_CHARS_MAX = 64;
const quoted = (name: string): string => `"${name.slice(0, NAME_CHARS_MAX)}"`;

function hint(name: string, known: readonly string[]): string {
  if (name.length > NAME_CHARS_MAX) return '';
  const nearest = closest(name, known);
  return distance(name, nearest) <= Math.max(1, Math.floor(name.length / 3)) ? `: did you mean "${nearest}"?` : '';
}
