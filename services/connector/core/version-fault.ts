/** What a client is told whose era no target speaks: which versions it may try instead (MCP 2026-07-28 "Compatibility"). */
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Request } from '#protocol/mcp/message.ts';
import { META_VERSION } from '#protocol/mcp/modern.ts';
import { LATEST_LEGACY, LATEST_MODERN, LEGACY_VERSIONS, MODERN_VERSIONS } from '#protocol/mcp/versions.ts';

/** To a legacy client before servers that are modern only. */
export function onlyModern({ params }: Request): Fault {
  return unsupported(String(params?.['protocolVersion'] ?? LATEST_LEGACY), MODERN_VERSIONS, 'the servers behind this endpoint keep no sessions');
}

/** To a modern client before servers that are legacy only: it falls back to initialize. */
export function onlyLegacy({ params }: Request): Fault {
  return unsupported(String(params?._meta?.[META_VERSION] ?? LATEST_MODERN), LEGACY_VERSIONS, 'the servers behind this endpoint open a session with initialize');
}

/** A modern-only server answers initialize with its version error, or does not know the method. */
export function speaksOtherEra({ facts }: Fault): boolean {
  const code = Number(facts['code']);
  return code === CODE.unsupportedVersion || code === CODE.methodNotFound;
}

function unsupported(requested: string, supported: readonly string[], why: string): Fault {
  const facts = { rpc: String(CODE.unsupportedVersion), requested, supported: supported.join(' ') };
  return new Fault('invalid', `Unsupported protocol version: ${requested}; ${why}`, facts);
}
