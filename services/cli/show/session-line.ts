/** Sessions as lines of a table that can be printed as they come: the widths do not depend on what follows. */
import type { SessionFacts, SessionState } from '../core/session-facts.ts';
import type { Colors } from '../runtime/terminal.ts';
import { quoted } from './audit-line.ts';

/** What does not fit pushes the rest of its line to the right: nothing is cut off. */
const COLUMNS = { ID: 8, PRINCIPAL: 14, ROUTE: 16, BACKEND: 16, STATE: 7, OWNER: 20, OPENED: 6, SEEN: 6, CLIENT: 0 } as const;

export const sessionHead = (): string => line(Object.keys(COLUMNS), (cell) => cell);

export function sessionLine(facts: SessionFacts, now: number, colors: Colors): string {
  const { id, principal, route, backend, state, owner, openedAt, seenAt, client } = facts;
  const named = client === undefined ? '-' : quoted(`${client.name} ${client.version}`.trim());
  const cells = [id, words(principal), words(route), words(backend), state, words(owner), ago(openedAt, now), ago(seenAt, now), named];
  return line(cells, (cell, index) => (index === STATE_INDEX ? paint(state, colors)(cell) : cell));
}

const STATE_INDEX = Object.keys(COLUMNS).indexOf('STATE');

/** Padded before it is painted: colours have no width. */
function line(cells: readonly string[], painted: (cell: string, index: number) => string): string {
  const widths = Object.values(COLUMNS);
  return cells
    .map((cell, index) => painted(cell.padEnd(widths[index] ?? 0), index))
    .join('  ')
    .trimEnd();
}

function paint(state: SessionState, colors: Colors): (text: string) => string {
  switch (state) {
    case 'live':
      return colors.green;
    case 'at rest':
      return colors.dim;
    case 'closed':
      return colors.yellow;
    case 'unreadable':
      return colors.red;
  }
}

const words = (text: string | undefined): string => (text === undefined || text === '' ? '-' : quoted(text));

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** `42s`, `5m`, `3h`, `2d`: whole units, rounded down. */
export function ago(at: string | undefined, now: number): string {
  const ms = at === undefined ? Number.NaN : now - Date.parse(at);
  if (Number.isNaN(ms)) return '-';
  const [unit, length] = UNITS.find(([, each]) => ms >= each) ?? ['s', 1_000];
  return `${Math.max(0, Math.floor(ms / length))}${unit}`;
}
