/**
 * The language: CEL's standard functions, its extension for text, and ours, each behind a meter. Everything an expression
 * calls goes through `find` here, so this is where steps are counted and secrets are kept.
 */
import { CelScalar, celEnv, isCelList } from '@bufbuild/cel';
import type { CelEnv, CelResult, CelValue } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { spend, stepsForText } from './bounds.ts';
import type { CapturePath } from './captures.ts';
import { contains, equal } from './equality.ts';
import { encodingFunctions } from './functions-encoding.ts';
import { flattenFunctions } from './functions-flatten.ts';
import { headerFunctions } from './functions-headers.ts';
import { internalFunctions } from './functions-internal.ts';
import { mathFunctions } from './functions-math.ts';
import { networkFunctions } from './functions-network.ts';
import { queryFunctions } from './functions-query.ts';
import { textFunctions } from './functions-text.ts';
import { ARGUMENTS_MAX, valueFunctions } from './functions-values.ts';
import { conceal, isSecret, reveal } from './secrets.ts';

const library = celEnv({
  funcs: [
    ...strings,
    ...textFunctions,
    ...valueFunctions,
    ...mathFunctions,
    ...encodingFunctions,
    ...networkFunctions,
    ...headerFunctions,
    ...queryFunctions,
    ...flattenFunctions,
    ...internalFunctions,
  ],
});

export { ARGUMENTS_MAX };

type Functions = NonNullable<ReturnType<CelEnv['funcs']['find']>>;
export type Apply = Functions['call'];

/** These are given secrets as they are: they keep them, show them as `<redacted>`, or were asked for them. */
const SEES_SECRETS = new Set(['unredacted', 'redacted', 'toJson', 'unvalidatedJwtPayload', 'form.encode', 'type', 'dyn', 'query', 'addQuery', 'setQuery', 'flatten', 'flattenRecursive']);

/** Several passes over the text, or a piece of memory for each character. */
const COSTLY = new Set(['lowerAscii', 'upperAscii', 'split', 'replace', 'format', 'strings.quote', 'trim', 'bytes', 'string', 'timestamp', 'duration']);
const COSTLY_FACTOR = 16;
/** A time zone is looked up for each call. */
const TIME_ZONE_STEPS = 800;

function stepsFor(value: CelValue | undefined): number {
  if (typeof value === 'string') return stepsForText(value.length);
  if (typeof value !== 'object' || value === null) return 0;
  if (value instanceof Uint8Array) return stepsForText(value.length);
  return isCelList(value) ? value.size >> 3 : 0;
}

function metered(name: string, apply: Apply): Apply {
  const factor = COSTLY.has(name) ? COSTLY_FACTOR : 1;
  const zoned = /^get[A-Z]/.test(name);
  const seesSecrets = name.startsWith('@') || SEES_SECRETS.has(name);
  return (id, target, args) => {
    let steps = stepsFor(target);
    let secret = target !== undefined && isSecret(target);
    for (const arg of args) {
      steps += stepsFor(arg);
      secret ||= isSecret(arg);
    }
    if (zoned && args.length > 0) steps += TIME_ZONE_STEPS;
    if (steps > 0) spend(factor * steps);
    if (!secret || seesSecrets) return apply(id, target, args);
    const result = metered(name, apply)(id, target === undefined ? undefined : reveal(target), args.map(reveal));
    return result === undefined ? undefined : conceal(result);
  };
}

/** Operators on any two values: the library compares the types of all their overloads first. */
const OPERATORS: Readonly<Record<string, (left: CelValue, right: CelValue) => CelResult | undefined>> = {
  '_==_': equal,
  '_!=_': (left, right) => !equal(left, right),
  '@in': contains,
};

function functionsNamed(name: string): Functions | undefined {
  const found = library.funcs.find(name);
  if (found === undefined) return undefined;
  const operator = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  const call: Apply =
    operator === undefined
      ? metered(name, (id, target, args) => found.call(id, target, args))
      : (_id, _target, [left, right]) => (left === undefined || right === undefined ? undefined : operator(left, right));
  return Object.assign(Object.create(found) as Functions, { call });
}

const names = new Set([...library.funcs].map(({ name }) => name));
const all = new Map([...names].map((name) => [name, functionsNamed(name)]));

const environment = (find: (name: string) => Functions | undefined): CelEnv =>
  Object.create(library, { funcs: { value: Object.assign(Object.create(library.funcs), { find }) } }) as CelEnv;

/** With functions beside those that are there. They are given secrets as they are, since what they do is done by others. */
export function environmentWith(applyOf: (name: string) => Apply | undefined): CelEnv {
  return environment((name) => {
    const call = applyOf(name);
    return call === undefined ? all.get(name) : Object.assign(Object.create(all.get('size') as Functions) as Functions, { call });
  });
}

/** How a function may be called: on a value or not, and with how many arguments. */
export interface Signature {
  readonly onValue: readonly number[];
  readonly global: readonly number[];
}

function signatureOf(name: string): Signature | undefined {
  if (!names.has(name)) return undefined;
  const overloads = [...library.funcs].filter((func) => func.name === name);
  const arities = (onValue: boolean): number[] =>
    [...new Set(overloads.filter((func) => (func.target !== undefined) === onValue).map((func) => func.arguments.length))].toSorted((a, b) => a - b);
  return { onValue: arities(true), global: arities(false) };
}

/** What an expression may call. */
export interface Vocabulary {
  /** For `plan`. */
  readonly env: CelEnv;
  signatureOf(name: string): Signature | undefined;
  /** What a call reads of the variables by itself. */
  readsOf(name: string, onValue: boolean): readonly CapturePath[];
  /** What can be written, without operators: for messages and documents. */
  readonly names: readonly string[];
}

const NOTHING: readonly CapturePath[] = [];

export const STANDARD: Vocabulary = {
  env: environment((name) => all.get(name)),
  signatureOf,
  readsOf: () => NOTHING,
  names: [...names].filter((name) => /^[A-Za-z]/.test(name)).toSorted(),
};

export const TYPE_NAMES: ReadonlySet<string> = new Set([...Object.values(CelScalar).map(({ name }) => name).filter((name) => name !== 'dyn'), 'list', 'map']);
