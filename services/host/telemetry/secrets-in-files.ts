/** What is secret in a file that the configuration names, as it would be told by whoever prints the file or a part of it. */

const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----/g;
/** Of an htpasswd file: who has it can try passwords at leisure. */
const PASSWORD_HASH = /^[^:#\s][^:\n]*:(\S+)\s*$/gm;
/** The members of a JWK that are for its owner alone (RFC 7518 §6). */
const PRIVATE_MEMBER = /"(?:d|p|q|dp|dq|qi|k)"\s*:\s*"([\w-]+)"/g;

export function secretsIn(text: string): string[] {
  const firstGroups = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, group = '']) => group);
  if (text.trimStart().startsWith('{')) return firstGroups(PRIVATE_MEMBER);
  const keys = text.match(PRIVATE_KEY) ?? [];
  return keys.length === 0 ? firstGroups(PASSWORD_HASH) : keys.flatMap((key) => [key, ...key.split('\n').slice(1, -1)]);
}
