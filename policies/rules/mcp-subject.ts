/**
 * One MCP call, or one item of a list, in front of its rules.
 *
 * J1 A deny that fails denies; but one that fails only because it speaks of a tool where this is a prompt says nothing.
 * J2 A list shows what may be called with some arguments: where a rule fails and speaks of arguments, which a list has not,
 *    it decides nothing there.
 */
import { type Activation, SharedActivation } from '../cel/variables.ts';
import { type Denial, type Rule, type RuleOutcome, judge } from './rule-set.ts';

export const MCP_KINDS = ['tool', 'prompt', 'resource', 'task'] as const;
export type McpKind = (typeof MCP_KINDS)[number];

export interface McpSubject {
  readonly kind: McpKind;
  readonly target: string;
  /** As the target names it: a tool or prompt, a URI or URI template, a task id. */
  readonly name: string;
  /** Of a tool call. */
  readonly arguments?: unknown;
  readonly method: string;
  /** It is an item of a list, not what is called. */
  readonly listed: boolean;
}

/** A rule, and what of MCP it speaks of. */
export interface McpRule extends Rule {
  readonly kinds: ReadonlySet<McpKind>;
  readonly readsArguments: boolean;
  /** It speaks of the caller alone. */
  readonly ofCaller: boolean;
}

/** What rules that speak of the caller alone have said of one: a list asks them once, and not for each item. */
export type Settled = Map<McpRule, RuleOutcome>;

export function mcpRule(rule: Rule): McpRule {
  const { captures } = rule.expression;
  return { ...rule, kinds: new Set(MCP_KINDS.filter((kind) => captures.reads('mcp', kind))), readsArguments: captures.reads('mcp', 'tool', 'arguments'), ofCaller: !captures.variables.includes('mcp') };
}

/** @param known all that ingress said of the request. Undefined = it may. */
export function judgeSubject(rules: readonly McpRule[], subject: McpSubject, known: Activation, settled: Settled): Denial | undefined {
  const activation = { ...known, mcp: mcpOf(subject) };
  const shared = new SharedActivation(activation);
  return judge(rules, (rule) => {
    if (rule.ofCaller) return ofCaller(rule, known, settled);
    const outcome = rule.expression.test(shared);
    return outcome === 'failed' ? failed(rule, subject, activation) : outcome;
  });
}

function ofCaller(rule: McpRule, known: Activation, settled: Settled): RuleOutcome {
  const before = settled.get(rule);
  if (before !== undefined) return before;
  const outcome = rule.expression.test(known);
  settled.set(rule, outcome);
  return outcome;
}

function failed(rule: McpRule, subject: McpSubject, activation: Activation): RuleOutcome {
  if (subject.listed && subject.kind === 'tool' && rule.readsArguments) return 'maybe';
  return rule.kind === 'deny' && isOfOthers(rule, subject, activation) ? false : 'failed';
}

const BLANK = { target: '', name: '' };
const BLANKS: Readonly<Record<McpKind, object>> = { tool: BLANK, prompt: BLANK, resource: BLANK, task: BLANK };

/** J1: with something in the place of what this is not, nothing fails. */
function isOfOthers(rule: McpRule, subject: McpSubject, activation: Activation): boolean {
  if (![...rule.kinds].some((kind) => kind !== subject.kind)) return false;
  if (subject.kind !== 'tool' && rule.readsArguments) return true;
  return rule.expression.test({ ...activation, mcp: { ...BLANKS, ...mcpOf(subject) } }) !== 'failed';
}

function mcpOf({ kind, target, name, method, arguments: given }: McpSubject): object {
  return { methodName: method, [kind]: given === undefined ? { target, name } : { target, name, arguments: given } };
}
