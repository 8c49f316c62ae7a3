/** MCP revisions and the two eras they fall into (MCP 2026-07-28, "Versioning and compatibility"). */

export type Era = 'legacy' | 'modern';

/** Newest first. Legacy revisions open a session with `initialize`; modern ones are stateless. */
export const LEGACY_VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'] as const;
export const MODERN_VERSIONS = ['2026-07-28'] as const;

export const LATEST_LEGACY = LEGACY_VERSIONS[0];
export const LATEST_MODERN = MODERN_VERSIONS[0];

/** What a legacy request without the header means (MCP 2025-06-18, "Protocol Version Header"). */
export const ASSUMED_LEGACY = '2025-03-26';

const legacy: ReadonlySet<string> = new Set(LEGACY_VERSIONS);
const modern: ReadonlySet<string> = new Set(MODERN_VERSIONS);

export const isLegacyVersion = (version: string): boolean => legacy.has(version);
export const isModernVersion = (version: string): boolean => modern.has(version);

/** Revisions are dates, so text order is time order. */
export const atLeast = (version: string, floor: string): boolean => version >= floor;
export const lowest = (versions: readonly string[]): string => versions.reduce((low, one) => (one < low ? one : low));

/** The session of a legacy request, and of the answer that opens one (MCP 2025-11-25 "Session Management"). */
export const SESSION_HEADER = 'mcp-session-id';

/** Priming events and `retry:` on streams are understood from here on. */
export const POLLING_SINCE = '2025-11-25';
