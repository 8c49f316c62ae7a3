/**
 * What of a tool is trusted or not: all that a model, or a person who is asked, is told of it, as canonical JSON, so that
 * the order of keys does not matter, and its hash.
 *
 * `_meta` and `icons` are no part of it: servers put there what changes by itself (times, versions, addresses of pictures).
 */
import { createHash } from 'node:crypto';
import { canonicalJson } from '#protocol/config/keys.ts';
import { DEFINITION_BYTES_MAX, TOOL_NAME_BYTES_MAX } from '#protocol/records/tool-pins.ts';

const PARTS = ['name', 'title', 'description', 'inputSchema', 'outputSchema', 'annotations'] as const;
/** Schemas of real tools are some ten deep; without a limit a server could have us overflow the stack. */
const DEPTH_MAX = 64;

export interface ToolDefinition {
  readonly name: string;
  readonly hash: string;
  /** Canonical JSON. */
  readonly text: string;
}

/** A tool that cannot be told from another, and why. */
export interface Unpinnable {
  /** Undefined when it has none that could be pinned. */
  readonly name: string | undefined;
  readonly why: 'nameless' | 'name-too-long' | 'too-deep' | 'too-large' | 'too-many';
}

export const isPinnable = (one: ToolDefinition | Unpinnable): one is ToolDefinition => 'hash' in one;

/** @param tool as the target lists it. */
export function definitionOf(tool: unknown): ToolDefinition | Unpinnable {
  if (typeof tool !== 'object' || tool === null || Array.isArray(tool)) return NAMELESS;
  const { name } = tool as { readonly name?: unknown };
  if (typeof name !== 'string' || name === '') return NAMELESS;
  if (Buffer.byteLength(JSON.stringify(name)) > TOOL_NAME_BYTES_MAX) return { name: undefined, why: 'name-too-long' };
  const parts = PARTS.flatMap((part) => (Object.hasOwn(tool, part) ? [[part, (tool as Record<string, unknown>)[part]] as const] : []));
  if (parts.some(([, value]) => isDeeper(value, DEPTH_MAX))) return { name, why: 'too-deep' };
  const text = canonicalJson(Object.fromEntries(parts));
  return Buffer.byteLength(text) > DEFINITION_BYTES_MAX ? { name, why: 'too-large' } : { name, hash: hashOf(text), text };
}

const NAMELESS: Unpinnable = { name: undefined, why: 'nameless' };

export const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

/** Which parts are others, for a person: `description, inputSchema`. One that is undefined was not kept. */
export function changedParts(before: string | undefined, after: string | undefined): string {
  if (before === undefined || after === undefined) return 'not known';
  const [one, other] = [JSON.parse(before), JSON.parse(after)] as [Record<string, unknown>, Record<string, unknown>];
  return PARTS.filter((part) => canonicalJson(one[part]) !== canonicalJson(other[part])).join(', ');
}
