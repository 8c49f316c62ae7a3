/**
 * What becomes of the pins of a target when it shows its tools, or an operator approves of them. Values in, values out.
 *
 * N1 A target that was never seen is believed: all it shows is pinned. From then on a tool that is added needs approval as
 *    one that changed does; otherwise a server could put beside a tool what the tool itself may not say.
 * N2 What is not as it was is remembered until somebody approves: that a server shows the pinned definition again makes
 *    nothing good by itself, since it may show it to us and something else to others.
 * N3 A name that was never approved of is forgotten once a whole list is without it, so that a server that invents names
 *    does not fill its record for ever.
 */
import { PINNED_TOOLS_MAX, type PinPlace, type ToolPin, type ToolPins } from '#protocol/records/tool-pins.ts';

/** A server that shows one thing here and another there has its record written no more often than this. */
export const SHOWN_AGAIN_MS = 60_000;

/** Name and hash of what was shown. */
export interface Shown {
  readonly name: string;
  readonly hash: string;
}

export interface ToolNews extends Shown {
  readonly kind: 'added' | 'changed';
  /** What was pinned. */
  readonly before: string | undefined;
}

/** N1. What is too much is left out, and thereby not trusted. */
export function firstSight({ backend, target }: PinPlace, shown: readonly Shown[], at: number): ToolPins {
  const tools = new Map<string, ToolPin>();
  for (const { name, hash } of shown) {
    // One name with two definitions: the first counts, and the second is a change.
    if (!tools.has(name) && tools.size < PINNED_TOOLS_MAX) tools.set(name, { name, pinned: hash, pinnedAt: at });
  }
  return { v: 1, backend, target, firstSeenAt: at, tools: [...tools.values()] };
}

export interface Noticed {
  readonly pins: ToolPins;
  readonly news: readonly ToolNews[];
}

/** @param whole the names of all that the target has, where they are known. Undefined = nothing is to be remembered. */
export function notice(pins: ToolPins, shown: readonly Shown[], at: number, whole?: ReadonlySet<string>): Noticed | undefined {
  const kept = whole === undefined ? pins.tools : pins.tools.filter(({ name, pinned }) => pinned !== undefined || whole.has(name));
  const tools = new Map(kept.map((pin) => [pin.name, pin]));
  const news: ToolNews[] = [];
  let shownAgain = false;
  for (const { name, hash } of shown) {
    const pin = tools.get(name);
    const next = shownAs(pin, { name, hash }, at);
    if (next === undefined || (pin === undefined && tools.size >= PINNED_TOOLS_MAX)) continue;
    tools.set(name, next);
    if (hash === pin?.pinned) shownAgain = true;
    else news.push({ kind: pin?.pinned === undefined ? 'added' : 'changed', name, hash, before: pin?.pinned });
  }
  if (news.length === 0 && !shownAgain && kept.length === pins.tools.length) return undefined;
  return { pins: { ...pins, tools: [...tools.values()] }, news };
}

/** Undefined = as it is remembered. */
function shownAs(pin: ToolPin | undefined, { name, hash }: Shown, at: number): ToolPin | undefined {
  if (pin === undefined) return { name, seen: { hash, at } };
  if (pin.seen === undefined) return pin.pinned === hash ? undefined : { ...pin, seen: { hash, at } };
  if (pin.seen.hash === hash) return undefined;
  return pin.pinned === hash && at - pin.seen.at < SHOWN_AGAIN_MS ? undefined : { ...pin, seen: { hash, at } };
}

/** @param wanted name, and the hash that is approved of. Names without such a definition are left as they are. */
export function approve(pins: ToolPins, wanted: ReadonlyMap<string, string>, at: number): ToolPins {
  const tools = pins.tools.map((pin): ToolPin => {
    const hash = wanted.get(pin.name);
    if (hash === undefined || (hash !== pin.seen?.hash && hash !== pin.pinned)) return pin;
    return { name: pin.name, pinned: hash, pinnedAt: at };
  });
  return { ...pins, tools };
}

/** Names and hashes of the tools that are trusted. */
export const trustedTools = ({ tools }: ToolPins): Map<string, string> =>
  new Map(tools.flatMap(({ name, pinned, seen }) => (pinned === undefined || seen !== undefined ? [] : [[name, pinned] as const])));
