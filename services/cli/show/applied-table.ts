import type { Applied } from '#deploy/nats/apply.ts';
import { plainTable } from './plain-table.ts';

/** What `parley nats apply` did to each stream and bucket. */
export const appliedTable = (applied: readonly Applied[]): string =>
  plainTable(
    ['NAME', 'OUTCOME', 'CHANGED'],
    applied.map(({ name, outcome, changes }) => [name, outcome, changes.join(', ') || '-']),
  );
