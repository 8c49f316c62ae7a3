/**
 * Arithmetic. Beyond the specification, an int and a double may be calculated with: JSON has one kind of number, and
 * whether a client sends 100 or 100.5 must not decide whether `amount * 1.1` works.
 */
import { CelScalar, celFunc, celUint } from '@bufbuild/cel';
import type { CelFunc } from '@bufbuild/cel';

const { BOOL, DOUBLE, INT, UINT } = CelScalar;

const mixed = (operator: string, calculate: (left: number, right: number) => number): CelFunc[] => [
  celFunc(operator, [INT, DOUBLE], DOUBLE, (left, right) => calculate(Number(left), right)),
  celFunc(operator, [DOUBLE, INT], DOUBLE, (left, right) => calculate(left, Number(right))),
];

/** Numbers that are whole already stay what they are. */
const rounding = (name: string, round: (value: number) => number): CelFunc[] => [
  celFunc(`math.${name}`, [DOUBLE], DOUBLE, round),
  celFunc(`math.${name}`, [INT], INT, (value) => value),
];

const halfAwayFromZero = (value: number): number => (Number.isInteger(value) ? value : Math.sign(value) * Math.round(Math.abs(value)));

function absolute(value: bigint): bigint {
  const positive = value < 0n ? -value : value;
  if (positive > 9223372036854775807n) throw new Error('int overflow');
  return positive;
}

const ints = (name: string, calculate: (left: bigint, right: bigint) => bigint): CelFunc[] => [
  celFunc(`math.${name}`, [INT, INT], INT, (left, right) => BigInt.asIntN(64, calculate(left, right))),
  celFunc(`math.${name}`, [UINT, UINT], UINT, (left, right) => celUint(BigInt.asUintN(64, calculate(left.value, right.value)))),
];

function shift(name: string, calculate: (value: bigint, by: bigint) => bigint): CelFunc[] {
  const shifted = (value: bigint, by: bigint): bigint => {
    if (by < 0n) throw new Error('negative shift');
    return by > 63n ? 0n : calculate(BigInt.asUintN(64, value), by);
  };
  return [
    celFunc(`math.${name}`, [INT, INT], INT, (value, by) => BigInt.asIntN(64, shifted(value, by))),
    celFunc(`math.${name}`, [UINT, INT], UINT, (value, by) => celUint(BigInt.asUintN(64, shifted(value.value, by)))),
  ];
}

export const mathFunctions: readonly CelFunc[] = [
  ...mixed('_+_', (left, right) => left + right),
  ...mixed('_-_', (left, right) => left - right),
  ...mixed('_*_', (left, right) => left * right),
  ...mixed('_/_', (left, right) => left / right),
  ...rounding('ceil', Math.ceil),
  ...rounding('floor', Math.floor),
  ...rounding('round', halfAwayFromZero),
  ...rounding('trunc', Math.trunc),
  celFunc('math.isInf', [DOUBLE], BOOL, (value) => Math.abs(value) === Number.POSITIVE_INFINITY),
  celFunc('math.isNaN', [DOUBLE], BOOL, Number.isNaN),
  celFunc('math.isFinite', [DOUBLE], BOOL, Number.isFinite),
  celFunc('math.abs', [DOUBLE], DOUBLE, Math.abs),
  celFunc('math.abs', [INT], INT, absolute),
  celFunc('math.abs', [UINT], UINT, (value) => value),
  celFunc('math.sign', [DOUBLE], DOUBLE, Math.sign),
  celFunc('math.sign', [INT], INT, (value) => (value > 0n ? 1n : value < 0n ? -1n : 0n)),
  celFunc('math.sign', [UINT], UINT, (value) => celUint(value.value > 0n ? 1n : 0n)),
  celFunc('math.sqrt', [DOUBLE], DOUBLE, Math.sqrt),
  celFunc('math.sqrt', [INT], DOUBLE, (value) => Math.sqrt(Number(value))),
  celFunc('math.sqrt', [UINT], DOUBLE, (value) => Math.sqrt(Number(value.value))),
  ...ints('bitAnd', (left, right) => left & right),
  ...ints('bitOr', (left, right) => left | right),
  ...ints('bitXor', (left, right) => left ^ right),
  celFunc('math.bitNot', [INT], INT, (value) => ~value),
  celFunc('math.bitNot', [UINT], UINT, (value) => celUint(BigInt.asUintN(64, ~value.value))),
  ...shift('bitShiftLeft', (value, by) => value << by),
  ...shift('bitShiftRight', (value, by) => value >> by),
];
