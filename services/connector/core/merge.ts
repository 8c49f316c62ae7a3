/** One answer out of the answers of several targets. */
import { LATEST_LEGACY, lowest } from '#protocol/mcp/versions.ts';

export interface FromTarget<T> {
  readonly target: string;
  readonly value: T;
}

type Json = Record<string, unknown>;

const SERVER_INFO = { name: 'parley', title: 'Parley', version: '0.1.0' };
const META_SERVER_INFO = 'io.modelcontextprotocol/serverInfo';

/** Core tasks need task ids that lead back to their target; over several targets that is not offered yet. */
const NOT_SHARED: ReadonlySet<string> = new Set(['tasks', 'experimental']);

/** initialize: the lowest version, the union of capabilities, the instructions of each under its name. */
export function mergeInitialize(results: readonly FromTarget<Json>[]): Json {
  const versions = results.map(({ value }) => String(value['protocolVersion'] ?? LATEST_LEGACY));
  return {
    protocolVersion: lowest(versions),
    capabilities: mergeCapabilities(results.map(({ value }) => value['capabilities'])),
    serverInfo: SERVER_INFO,
    ...mergeInstructions(results),
  };
}

/** server/discover: the versions all of them speak, the union of capabilities, the strictest cache rule. */
export function mergeDiscover(results: readonly FromTarget<Json>[]): Json {
  const versions = results.map(({ value }) => (Array.isArray(value['supportedVersions']) ? value['supportedVersions'] : []));
  return {
    resultType: 'complete',
    supportedVersions: (versions[0] ?? []).filter((version) => versions.every((others) => others.includes(version))),
    capabilities: mergeCapabilities(results.map(({ value }) => value['capabilities'])),
    ...mergeCacheRules(results.map(({ value }) => value)),
    ...mergeInstructions(results),
    _meta: { [META_SERVER_INFO]: SERVER_INFO },
  };
}

/** Shortest life, `private` if any is private; nothing for legacy results, which carry neither. */
export function mergeCacheRules(results: readonly Json[]): Json {
  const lives = results.map((result) => result['ttlMs']).filter((ttl) => typeof ttl === 'number');
  if (lives.length === 0) return {};
  const isPrivate = results.some((result) => result['cacheScope'] !== 'public');
  return { ttlMs: Math.min(...lives), cacheScope: isPrivate ? 'private' : 'public' };
}

/** A capability any target has is a capability we have: messages are routed to those that have it. */
export function mergeCapabilities(all: readonly unknown[]): Json {
  const merged: Json = {};
  for (const capabilities of all) {
    for (const [name, value] of Object.entries((capabilities ?? {}) as Json)) {
      if (NOT_SHARED.has(name)) continue;
      merged[name] = { ...(merged[name] as Json | undefined), ...truthy((value ?? {}) as Json) };
    }
  }
  return merged;
}

const truthy = (flags: Json): Json => Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== false));

function mergeInstructions(results: readonly FromTarget<Json>[]): Json {
  const parts = results
    .filter(({ value }) => typeof value['instructions'] === 'string')
    .map(({ target, value }) => `[${target}]\n${String(value['instructions'])}`);
  return parts.length === 0 ? {} : { instructions: parts.join('\n\n') };
}
