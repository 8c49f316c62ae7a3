/**
 * Functions of the configuration (`config.customFunctions`): compiled once for it, and called like any other.
 *
 * F1 A body knows its arguments and the variables, never what is bound around a call of it.
 * F2 A call costs steps for each node of the body, and no function leads back to itself: a short text that would run for ever
 *    is a problem, one that would run for long reaches the limit of steps.
 * F3 What a function reads counts as read by whoever calls it: it shows nobody what they may not name themselves.
 */
import { celError, isCelError, parse } from '@bufbuild/cel';
import type { CelValue } from '@bufbuild/cel';
import { type Language, PLAIN_LANGUAGE } from '#protocol/config/language.ts';
import { LimitReached, spend } from './bounds.ts';
import type { CapturePath } from './captures.ts';
import { listOf } from './collections.ts';
import { type Definition, definitionsIn } from './definitions.ts';
import { variables } from './evaluation.ts';
import { limitIn } from './failure.ts';
import { type Apply, ARGUMENTS_MAX, STANDARD, type Signature, TYPE_NAMES, type Vocabulary, environmentWith } from './language.ts';
import { isMacro, size } from './macros.ts';
import { type ExpressionProblem, ProblemIn, positionOf } from './problem.ts';
import { type Program, compileProgram } from './program.ts';
import { children } from './syntax.ts';
import type { Expr } from './syntax.ts';
import { VARIABLE_NAMES } from './variables.ts';

export const FUNCTIONS_CHARS_MAX = 65_536;
export const FUNCTIONS_MAX = 256;
/** Of functions that call functions. */
export const CALLS_DEEP_MAX = 16;
const CALL_STEPS = 8;
const THIS = 'this';

interface Custom {
  readonly definition: Definition;
  /** Undefined: it has a problem, and every call of it fails. */
  program?: Program;
  steps: number;
  calls: readonly Custom[];
  /** Of itself and of all that it calls. */
  reads: readonly CapturePath[];
}

interface Functions {
  readonly vocabulary: Vocabulary;
  readonly problems: readonly ProblemIn[];
}

/** A name may be a function and, apart from that, a method. */
type ByKind = { readonly [kind in 'global' | 'onValue']?: Custom };

const known = new WeakMap<Language, Functions>();

/** What expressions of a configuration may call. */
export function vocabularyOf(language: Language): Vocabulary {
  if (language === PLAIN_LANGUAGE || language.customFunctions === '') return STANDARD;
  let functions = known.get(language);
  if (functions === undefined) {
    functions = functionsIn(language.customFunctions);
    known.set(language, functions);
  }
  return functions.vocabulary;
}

/** What is wrong with them, with its place in their text. */
export const functionProblems = (text: string): readonly ExpressionProblem[] => functionsIn(text).problems.map(({ offset, message }) => ({ message, ...positionOf(text, offset) }));

function functionsIn(text: string): Functions {
  const problems: ProblemIn[] = [];
  const attempt = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof ProblemIn)) throw error;
      problems.push(error);
      return undefined;
    }
  };
  const definitions = attempt(() => bounded(text, definitionsIn)) ?? [];
  const customs = new Map<string, ByKind>();
  for (const definition of definitions) attempt(() => enter(definition, customs));
  const vocabulary = vocabularyFor(customs);
  const all = [...customs.values()].flatMap(({ global, onValue }) => [global, onValue]).filter((one) => one !== undefined);
  for (const custom of all) {
    const program = attempt(() => compileBody(custom.definition, vocabulary));
    if (program === undefined) continue;
    custom.program = program;
    custom.steps = CALL_STEPS + size(program.expr);
    custom.calls = [...new Set(callsIn(program.expr, customs))];
  }
  const order = attempt(() => calleesFirst(all)) ?? [];
  for (const custom of order) custom.reads = [...(custom.program?.captures.paths ?? []), ...custom.calls.flatMap(({ reads }) => reads)];
  return { vocabulary, problems };
}

function bounded(text: string, read: (text: string) => readonly Definition[]): readonly Definition[] {
  if (text.length > FUNCTIONS_CHARS_MAX) throw new ProblemIn(0, `longer than ${FUNCTIONS_CHARS_MAX} characters`);
  const definitions = read(text);
  if (definitions.length > FUNCTIONS_MAX) throw new ProblemIn(definitions[FUNCTIONS_MAX]?.offset ?? 0, `more than ${FUNCTIONS_MAX} functions`);
  return definitions;
}

function enter(definition: Definition, customs: Map<string, ByKind>): void {
  const { name, onValue, parameters, rest, offset } = definition;
  const names = [...parameters, ...(rest === undefined ? [] : [rest])];
  const complain = (message: string): never => {
    throw new ProblemIn(offset, message);
  };
  if (STANDARD.signatureOf(name) !== undefined || isMacro(name) || TYPE_NAMES.has(name)) complain(`${name}() is there already`);
  for (const one of [name, ...names]) if (!isIdentifier(one) || one === THIS) complain(`"${one}" is a word of the language`);
  if (new Set(names).size < names.length) complain(`${name}() has two arguments of one name`);
  if (names.length > ARGUMENTS_MAX) complain(`${name}() has more than ${ARGUMENTS_MAX} arguments`);
  const kind = onValue ? 'onValue' : 'global';
  if (customs.get(name)?.[kind] !== undefined) complain(`${name}() is defined twice`);
  customs.set(name, { ...customs.get(name), [kind]: { definition, steps: 0, calls: [], reads: [] } });
}

function isIdentifier(name: string): boolean {
  try {
    return parse(name).expr.exprKind.case === 'identExpr';
  } catch {
    return false;
  }
}

function compileBody({ body, bodyOffset, parameters, rest, onValue }: Definition, vocabulary: Vocabulary): Program {
  try {
    const bound = new Set([...parameters, ...(rest === undefined ? [] : [rest]), ...(onValue ? [THIS] : [])]);
    return compileProgram(body, { vocabulary, variables: VARIABLE_NAMES, bound });
  } catch (error) {
    throw error instanceof ProblemIn ? new ProblemIn(bodyOffset + error.offset, error.message) : error;
  }
}

function callsIn(expr: Expr, customs: ReadonlyMap<string, ByKind>): Custom[] {
  const inside = children(expr).flatMap((part) => callsIn(part, customs));
  if (expr.exprKind.case !== 'callExpr') return inside;
  const { function: name, target } = expr.exprKind.value;
  const called = customs.get(name)?.[target === undefined ? 'global' : 'onValue'];
  return called === undefined ? inside : [called, ...inside];
}

/** @throws ProblemIn for a function that leads back to itself, or too deep. */
function calleesFirst(all: readonly Custom[]): readonly Custom[] {
  const depths = new Map<Custom, number>();
  const visit = (custom: Custom, callers: readonly Custom[]): number => {
    const { name, offset } = custom.definition;
    if (callers.includes(custom)) {
      const way = [...callers.slice(callers.indexOf(custom)), custom].map(({ definition }) => definition.name);
      throw new ProblemIn(offset, `${name}() leads back to itself: ${way.join(' → ')}`);
    }
    const before = depths.get(custom);
    if (before !== undefined) return before;
    const depth = 1 + Math.max(0, ...custom.calls.map((called) => visit(called, [...callers, custom])));
    if (depth > CALLS_DEEP_MAX) throw new ProblemIn(offset, `${name}() calls functions more than ${CALLS_DEEP_MAX} deep`);
    depths.set(custom, depth);
    return depth;
  };
  for (const custom of all) visit(custom, []);
  return [...depths.keys()];
}

function vocabularyFor(customs: ReadonlyMap<string, ByKind>): Vocabulary {
  const applies = new Map([...customs].map(([name, byKind]) => [name, applyOf(byKind)]));
  return {
    env: environmentWith((name) => applies.get(name)),
    signatureOf: (name) => (customs.has(name) ? signatureOf(customs.get(name) as ByKind) : STANDARD.signatureOf(name)),
    readsOf: (name, onValue) => customs.get(name)?.[onValue ? 'onValue' : 'global']?.reads ?? [],
    names: [...STANDARD.names, ...customs.keys()],
  };
}

function signatureOf({ global, onValue }: ByKind): Signature {
  const arities = (custom: Custom | undefined): number[] => {
    if (custom === undefined) return [];
    const { parameters, rest } = custom.definition;
    return rest === undefined ? [parameters.length] : Array.from({ length: ARGUMENTS_MAX + 1 - parameters.length }, (_, more) => parameters.length + more);
  };
  return { global: arities(global), onValue: arities(onValue) };
}

function applyOf({ global, onValue }: ByKind): Apply {
  return (id, target, args) => {
    const custom = target === undefined ? global : onValue;
    if (custom?.program === undefined) return celError('it has a problem', id);
    const { parameters, rest } = custom.definition;
    spend(custom.steps);
    // F1: on top of the variables of the evaluation, not of the caller.
    const values = Object.create(variables()) as Record<string, CelValue>;
    if (target !== undefined) values[THIS] = target;
    for (const [index, name] of parameters.entries()) values[name] = args[index] as CelValue;
    if (rest !== undefined) values[rest] = listOf(args.slice(parameters.length));
    const result = custom.program.run(values);
    if (!isCelError(result)) return result;
    if (limitIn(result)) throw new LimitReached(result.message);
    // Where it went wrong is told in the text of the caller.
    return celError(new Error(result.message), id);
  };
}
