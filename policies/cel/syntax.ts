/** The syntax tree of an expression, as the library parses it and runs it: how to look through it and how to build it. */
import type { parse } from '@bufbuild/cel';

export type Expr = ReturnType<typeof parse>['expr'];
type Kind = Expr['exprKind'];
export type Comprehension = Extract<Kind, { case: 'comprehensionExpr' }>['value'];
export type Call = Extract<Kind, { case: 'callExpr' }>['value'];

/** A node at the place of another: what goes wrong in it is reported there. */
export const at = (place: Expr, exprKind: Kind): Expr => ({ $typeName: 'cel.expr.Expr', id: place.id, exprKind });

export const ident = (place: Expr, name: string): Expr => at(place, { case: 'identExpr', value: { $typeName: 'cel.expr.Expr.Ident', name } });

export const call = (place: Expr, name: string, args: Expr[]): Expr =>
  at(place, { case: 'callExpr', value: { $typeName: 'cel.expr.Expr.Call', function: name, args } });

type Constant = Extract<Kind, { case: 'constExpr' }>['value']['constantKind'];
export const constant = (place: Expr, constantKind: Constant): Expr =>
  at(place, { case: 'constExpr', value: { $typeName: 'cel.expr.Constant', constantKind } });

export const list = (place: Expr, elements: Expr[]): Expr =>
  at(place, { case: 'listExpr', value: { $typeName: 'cel.expr.Expr.CreateList', elements, optionalIndices: [] } });

/** `accuVar = accuInit; for (iterVar of iterRange) accuVar = loopStep; result`, without a condition to go on. */
export const fold = (place: Expr, loop: Pick<Comprehension, 'iterVar' | 'accuVar'> & Record<'iterRange' | 'accuInit' | 'loopStep' | 'result', Expr>): Expr =>
  at(place, {
    case: 'comprehensionExpr',
    value: { $typeName: 'cel.expr.Expr.Comprehension', iterVar2: '', loopCondition: constant(place, { case: 'boolValue', value: true }), ...loop },
  });

/** `let name = value in body`: a loop over one item. */
export const bind = (place: Expr, name: string, value: Expr, body: Expr): Expr =>
  fold(place, {
    iterVar: name,
    iterRange: list(place, [value]),
    accuVar: '@bound',
    accuInit: constant(place, { case: 'nullValue', value: 0 }),
    loopStep: body,
    result: ident(place, '@bound'),
  });

/** The parts of a node, in the order they are written. */
export function children(expr: Expr): Expr[] {
  const { exprKind } = expr;
  switch (exprKind.case) {
    case 'selectExpr':
      return present([exprKind.value.operand]);
    case 'callExpr':
      return present([exprKind.value.target, ...exprKind.value.args]);
    case 'listExpr':
      return exprKind.value.elements;
    case 'structExpr':
      return present(exprKind.value.entries.flatMap((entry) => [entry.keyKind.case === 'mapKey' ? entry.keyKind.value : undefined, entry.value]));
    case 'comprehensionExpr': {
      const { iterRange, accuInit, loopCondition, loopStep, result } = exprKind.value;
      return present([iterRange, accuInit, loopCondition, loopStep, result]);
    }
    default:
      return [];
  }
}

const present = (parts: readonly (Expr | undefined)[]): Expr[] => parts.filter((part) => part !== undefined);

/** The same node with other parts. */
export function mapChildren(expr: Expr, change: (part: Expr) => Expr): Expr {
  const { exprKind } = expr;
  const maybe = (part: Expr | undefined): { readonly [k: string]: Expr } | undefined => (part === undefined ? undefined : { part: change(part) });
  switch (exprKind.case) {
    case 'selectExpr': {
      const operand = maybe(exprKind.value.operand)?.['part'];
      return at(expr, { ...exprKind, value: { ...exprKind.value, ...(operand && { operand }) } });
    }
    case 'callExpr': {
      const target = maybe(exprKind.value.target)?.['part'];
      return at(expr, { ...exprKind, value: { ...exprKind.value, ...(target && { target }), args: exprKind.value.args.map(change) } });
    }
    case 'listExpr':
      return at(expr, { ...exprKind, value: { ...exprKind.value, elements: exprKind.value.elements.map(change) } });
    case 'structExpr': {
      const entries = exprKind.value.entries.map((entry) => ({
        ...entry,
        keyKind: entry.keyKind.case === 'mapKey' ? { ...entry.keyKind, value: change(entry.keyKind.value) } : entry.keyKind,
        ...(entry.value && { value: change(entry.value) }),
      }));
      return at(expr, { ...exprKind, value: { ...exprKind.value, entries } });
    }
    case 'comprehensionExpr': {
      const loop = { ...exprKind.value };
      for (const part of LOOP_PARTS) if (loop[part] !== undefined) loop[part] = change(loop[part]);
      return at(expr, { ...exprKind, value: loop });
    }
    default:
      return expr;
  }
}

const LOOP_PARTS = ['iterRange', 'accuInit', 'loopCondition', 'loopStep', 'result'] as const;
