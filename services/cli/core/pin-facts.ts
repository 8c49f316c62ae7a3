/** What an operator is told of a pinned tool, from the record of its target. */
import type { ToolPin, ToolPins } from '#protocol/records/tool-pins.ts';

/** changed-back: the pinned definition is shown again, after another was. */
export type PinState = 'pinned' | 'changed' | 'changed-back' | 'new';

export interface PinFacts {
  readonly backend: string;
  readonly target: string;
  readonly tool: string;
  readonly state: PinState;
  /** Hashes of definitions. */
  readonly pinned?: string;
  readonly seen?: string;
  /** Since when it is in this state; ISO 8601. */
  readonly since: string;
}

export function pinFacts({ backend, target, firstSeenAt }: ToolPins, { name: tool, pinned, pinnedAt = firstSeenAt, seen }: ToolPin): PinFacts {
  const since = new Date(seen?.at ?? pinnedAt).toISOString();
  return { backend, target, tool, state: stateOf(pinned, seen?.hash), ...(pinned === undefined ? {} : { pinned }), ...(seen === undefined ? {} : { seen: seen.hash }), since };
}

function stateOf(pinned: string | undefined, seen: string | undefined): PinState {
  if (seen === undefined) return 'pinned';
  if (pinned === undefined) return 'new';
  return pinned === seen ? 'changed-back' : 'changed';
}

/** A target as it is typed: its name, or its backend and its name where several have one of that name. */
export const isNamed = ({ backend, target }: ToolPins, word: string): boolean => target === word || `${backend}/${target}` === word;
