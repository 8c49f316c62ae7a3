/**
 * What rests in KV of the tools of one target: which definition of each is trusted, and what was shown instead. A
 * definition is named by its hash; its text lies beside the record, under a key of the tool (`definitionKey`), so that the
 * record of a target with a thousand tools is one value that is compared and set.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';

export const PINS_BUCKET = 'parley-pins';

/** Tools of one target that are remembered. With the longest names a record is some 750 KiB, and a message of NATS 1 MiB. */
export const PINNED_TOOLS_MAX = 1_000;
/** Of a tool's name, as JSON. */
export const TOOL_NAME_BYTES_MAX = 512;
/** Of one definition, as canonical JSON. */
export const DEFINITION_BYTES_MAX = 64 * 1024;

/** SHA-256 of a definition as canonical JSON. */
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const toolPin = z.object({
  /** As the target names it. */
  name: z.string(),
  /** Absent = nobody has approved of any. */
  pinned: hash.optional(),
  /** When `pinned` was first seen, or approved; ms since the epoch. */
  pinnedAt: z.number().optional(),
  /** What the target has shown since and nobody has approved of; the pinned one itself, when it was shown again. */
  seen: z.object({ hash, at: z.number() }).optional(),
});

const toolPins = z.object({
  v: z.literal(1),
  /** Key of the backend; of the one it is a variant of. */
  backend: z.string(),
  target: z.string(),
  /** When the target was first seen. */
  firstSeenAt: z.number(),
  tools: z.array(toolPin).max(PINNED_TOOLS_MAX),
});

export type ToolPin = z.infer<typeof toolPin>;
export type ToolPins = z.infer<typeof toolPins>;

/** Undefined when it is none that this release can read. */
export function readToolPins(text: string): ToolPins | undefined {
  try {
    return toolPins.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** One target of one backend. */
export interface PinPlace {
  readonly backend: string;
  readonly target: string;
}

/** Two parts; that of a definition has four, so that whoever follows the records need not read definitions. */
export const PINS_KEYS = '*.*';

export const pinsKey = ({ backend, target }: PinPlace): string => `${backend}.${part(target)}`;

/** `pinned`: the one that is trusted. `seen`: the one that is not. */
export type WhichDefinition = 'pinned' | 'seen';

export const definitionKey = (place: PinPlace, tool: string, which: WhichDefinition): string => `${pinsKey(place)}.${part(tool)}.${which}`;

const PLAIN = /^[A-Za-z0-9_-]{1,64}$/;

/** A name as it is where a key can hold it, else its hash behind a sign that no such name has. */
const part = (name: string): string => (PLAIN.test(name) ? name : `=${createHash('sha256').update(name).digest('base64url')}`);
