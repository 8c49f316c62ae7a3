/** Pinned tools as a table, and one of them with what changed in it. */
import { diff } from 'node:util';
import type { PinFacts } from '../core/pin-facts.ts';
import type { Colors } from '../runtime/terminal.ts';
import { plainTable } from './plain-table.ts';
import { ago } from './session-line.ts';
import { visible, visibleName } from './visible.ts';

/** Enough to tell definitions apart, and to name one with `--hash`. */
export const HASH_CHARS = 12;
/** What it costs to compare grows with the square of what differs. */
const COMPARED_LINES_MAX = 2_000;

const shortHash = (hash: string | undefined): string => hash?.slice(0, HASH_CHARS) ?? '-';

export function pinsTable(all: readonly PinFacts[], now: number): string {
  const rows = all.map(({ backend, target, tool, state, pinned, seen, since }) => [backend, visibleName(target), visibleName(tool), state, shortHash(pinned), shortHash(seen), ago(since, now)]);
  return plainTable(['BACKEND', 'TARGET', 'TOOL', 'STATE', 'PINNED', 'SEEN', 'SINCE'], rows);
}

/** Canonical JSON, or undefined when it was not kept. */
export interface Definitions {
  readonly pinned: string | undefined;
  readonly seen: string | undefined;
}

export function pinShown(facts: PinFacts, { pinned, seen }: Definitions, colors: Colors): string {
  const { backend, target, tool, state, since } = facts;
  const head = [`${backend}/${visibleName(target)} ${visibleName(tool)}: ${state} since ${since}`];
  if (facts.pinned !== undefined) head.push(`pinned ${facts.pinned}${pinned === undefined ? ' (its definition was not kept)' : ''}`);
  if (facts.seen !== undefined) head.push(`seen   ${facts.seen}${seen === undefined ? ' (its definition was not kept)' : ''}`);
  const body = state === 'changed' ? compared(linesOf(pinned), linesOf(seen), colors) : linesOf(pinned ?? seen).map((line) => `  ${line}`);
  return [...head, ...(body.length === 0 ? [] : ['', ...body])].join('\n');
}

/** A text of several lines is shown as such: where it changed is what counts. */
function linesOf(definition: string | undefined): string[] {
  if (definition === undefined) return [];
  const text = JSON.stringify(JSON.parse(definition), null, 2);
  return text.split('\n').flatMap((line) => line.split(/(?<=\\n)/)).map(visible);
}

function compared(before: readonly string[], after: readonly string[], { red, green }: Colors): string[] {
  const taken = (line: string): string => red(`- ${line}`);
  const given = (line: string): string => green(`+ ${line}`);
  if (before.length > COMPARED_LINES_MAX || after.length > COMPARED_LINES_MAX) return [...before.map(taken), ...after.map(given)];
  const lines: string[] = [];
  /** What was given, behind all that was taken in the same place. */
  const late: string[] = [];
  for (const [operation, line] of diff([...after], [...before])) {
    if (operation === 1) late.push(given(line));
    else if (operation === -1) lines.push(taken(line));
    else lines.push(...late.splice(0), `  ${line}`);
  }
  return [...lines, ...late];
}
