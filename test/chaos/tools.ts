/**
 * The tools of the upstream, as both sides know them: what a call may leave behind, and what travels in it.
 *
 * Every call carries the marker of its session and a key of its own, and everything that comes back of it repeats both:
 * a message that reaches somebody else, or the answer of another call, shows at once.
 */

/** `once`: nothing says that it may run twice. `safe`: annotated read-only or idempotent, so a gateway may repeat it. */
export type Safety = 'once' | 'safe';

export const TOOLS = {
  fast: { safety: 'once', hints: {} },
  add: { safety: 'once', hints: { readOnlyHint: false, idempotentHint: false, destructiveHint: true } },
  streaming: { safety: 'once', hints: {} },
  eliciting: { safety: 'once', hints: {} },
  announce: { safety: 'once', hints: {} },
  slow: { safety: 'safe', hints: { idempotentHint: true } },
  read: { safety: 'safe', hints: { readOnlyHint: true } },
} as const satisfies Readonly<Record<string, { safety: Safety; hints: object }>>;

export type ToolName = keyof typeof TOOLS;
export const TOOL_NAMES = Object.keys(TOOLS) as readonly ToolName[];

/** What is not a tool, and is called all the same: opening a session, and a write of its record. Both may be repeated. */
export type OtherCall = 'initialize' | 'setLevel';
export type CallName = ToolName | OtherCall;

export const isTool = (name: CallName): name is ToolName => Object.hasOwn(TOOLS, name);
export const isDurable = (name: CallName): boolean => !isTool(name);
export const safetyOf = (name: CallName): Safety => (isTool(name) ? TOOLS[name].safety : 'safe');

export interface Mark {
  /** The session it belongs to. */
  readonly marker: string;
  /** The attempt it belongs to. */
  readonly key: string;
}

export const markText = ({ marker, key }: Mark): string => JSON.stringify({ marker, key });

/** Of a text that markText made, or an object that has both; undefined = it is not marked. */
export function markOf(value: unknown): Mark | undefined {
  const parsed = typeof value === 'string' ? parsedOr(value) : value;
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { marker, key } = parsed as Partial<Mark>;
  return typeof marker === 'string' && typeof key === 'string' ? { marker, key } : undefined;
}

function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** One execution of a tool, as the upstream saw it. */
export interface Effect extends Mark {
  readonly tool: ToolName;
  /** The upstream's session it ran in. */
  readonly upstreamSession: string;
}
