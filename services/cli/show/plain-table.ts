import Table from 'cli-table3';

const EDGES = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'] as const;
const SIDES = ['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'] as const;
const NO_LINES = Object.fromEntries([...EDGES, ...SIDES].map((name) => [name, '']));

/** Columns two spaces apart, no lines, nothing after the last word: it survives a log file, grep and awk. */
export function plainTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new Table({ head: [...head], chars: { ...NO_LINES, middle: '  ' }, style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 } });
  for (const row of rows) table.push([...row]);
  return table.toString().replace(/ +$/gm, '');
}
