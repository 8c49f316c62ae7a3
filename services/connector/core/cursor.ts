/** Our own pagination cursor over several targets: which of them have more, and from where. Clients get it sealed (handle-seal.ts). */

/** Upstream cursors by target; a target that is not in it has been read to its end. */
export type Cursors = Readonly<Record<string, string>>;

/** Undefined when nobody has more. */
export const encodeCursors = (cursors: Cursors): string | undefined => (Object.keys(cursors).length === 0 ? undefined : JSON.stringify(cursors));

/** Undefined when it is not one of ours. */
export function decodeCursors(text: string): Cursors | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return Object.values(value).every((one) => typeof one === 'string') ? (value as Cursors) : undefined;
  } catch {
    return undefined;
  }
}
