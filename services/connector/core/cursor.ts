/** Our own pagination cursor over several targets: which of them have more, and from where. Opaque to clients, checked when it comes back. */

export const CURSOR_CHARS_MAX = 8 * 1024;

/** Upstream cursors by target; a target that is not in it has been read to its end. */
export type Cursors = Readonly<Record<string, string>>;

export function encodeCursor(cursors: Cursors): string | undefined {
  if (Object.keys(cursors).length === 0) return undefined;
  return Buffer.from(JSON.stringify(cursors), 'utf8').toString('base64url');
}

/** Undefined when it is not one of ours. */
export function decodeCursor(cursor: string): Cursors | undefined {
  if (cursor.length > CURSOR_CHARS_MAX) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return Object.values(value).every((one) => typeof one === 'string') ? (value as Cursors) : undefined;
  } catch {
    return undefined;
  }
}
