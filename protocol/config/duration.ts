/** Durations as the configuration writes them, Go style: "10s", "1m30s", "250ms", "1.5h", "0". */

const UNIT_MS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, 'µs': 1e-3, 'μs': 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;
/** Ten years: beyond it a duration is a typing error. */
export const DURATION_MS_MAX = 10 * 365 * 24 * UNIT_MS['h']!;
const TEXT_CHARS_MAX = 64;

/** Milliseconds, rounded up to whole ones; undefined when the text is not a duration. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (text === '' || text.length > TEXT_CHARS_MAX) return undefined;
  let total = 0;
  let at = 0;
  while (at < text.length) {
    PART.lastIndex = at;
    const found = PART.exec(text);
    if (found === null) return undefined;
    total += Number(found[1]) * (UNIT_MS[found[2] ?? ''] ?? 0);
    at = PART.lastIndex;
  }
  return total > DURATION_MS_MAX ? undefined : Math.max(0, Math.ceil(total - 1e-9));
}
