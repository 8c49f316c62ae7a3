/** What people type after a command, made into values or refused with the place and the fix. */
import { InvalidArgumentError } from 'commander';
import { closest, distance } from 'fastest-levenshtein';
import { parseDuration } from '#protocol/config/duration.ts';
import { usageError } from './core/exit.ts';
import { findJsonFault } from './core/json-position.ts';

/** A shell's own limit on one argument is 128 KiB on Linux; more than that can only be a mistake. */
const JSON_ARGUMENT_BYTES_MAX = 128 * 1024;
const SINCE_MS_MAX = 365 * 24 * 60 * 60 * 1000;

export const SERVICES = ['ingress', 'policy', 'session', 'connector'] as const;
export type ServiceName = (typeof SERVICES)[number];

/** The nearest of `names`, when it is near enough to be what was meant. */
export function didYouMean(word: string, names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined;
  const near = closest(word, names);
  return distance(word, near) <= Math.max(2, Math.floor(word.length / 3)) ? near : undefined;
}

/** @throws CommandError (exit 2) naming the position of the first thing that is not JSON. */
export function toolArguments(text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {};
  if (Buffer.byteLength(text) > JSON_ARGUMENT_BYTES_MAX) {
    throw usageError(`the arguments are longer than ${JSON_ARGUMENT_BYTES_MAX} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw usageError(notJson(text));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw usageError(`the arguments must be a JSON object, such as '{"message":"hi"}'; this is ${kindOf(value)}`);
  }
  return value as Record<string, unknown>;
}

function notJson(text: string): string {
  const fault = findJsonFault(text);
  if (fault === undefined) return 'the arguments are not valid JSON';
  const before = text.slice(0, fault.offset);
  const line = before.split('\n').length;
  const column = fault.offset - before.lastIndexOf('\n');
  const char = text.codePointAt(fault.offset);
  const found = char === undefined ? 'the text ends' : `found ${JSON.stringify(String.fromCodePoint(char))}`;
  const place = line === 1 ? `position ${column}` : `line ${line}, position ${column}`;
  const shown = text.split('\n')[line - 1] ?? '';
  return (
    `the arguments are not valid JSON at ${place}: expected ${fault.expected}, ${found}\n` +
    `  ${shown}\n  ${' '.repeat(column - 1)}^\n` +
    `Put the JSON in single quotes, so that the shell leaves its double quotes alone: '{"message":"hi"}'`
  );
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/** `90s`, `10m`, `2h` → milliseconds, written as durations are in the configuration. */
export function since(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms < 0) throw new InvalidArgumentError('Write a duration: 90s, 10m or 2h.');
  if (ms > SINCE_MS_MAX) throw new InvalidArgumentError('At most a year.');
  return ms;
}

/** @throws CommandError (exit 2) with the service that was probably meant. */
export function serviceNames(words: readonly string[]): readonly ServiceName[] {
  for (const word of words) {
    if (isService(word)) continue;
    const near = didYouMean(word, SERVICES);
    throw usageError(`unknown service '${word}'${near === undefined ? '' : ` (did you mean ${near}?)`}: one or more of ${SERVICES.join(', ')}`);
  }
  // In the order of the table, whatever was typed: ingress opens its doors last, and closes them first.
  return START_ORDER.filter((name) => words.includes(name));
}

export const START_ORDER: readonly ServiceName[] = ['policy', 'connector', 'session', 'ingress'];

const isService = (word: string): word is ServiceName => (SERVICES as readonly string[]).includes(word);

/** `auto` asks for the modern protocol and falls back to the legacy one. */
export const ERAS = ['auto', 'legacy', 'modern'] as const;
export type Era = (typeof ERAS)[number];

/** Where `parley up` without -f serves. */
export const DEMONSTRATION_URL = 'http://localhost:3000/mcp';

export function httpUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new InvalidArgumentError('Write a whole URL: http://localhost:3000/mcp');
}
