/** Entry by entry, as node writes them: it quotes, as JSON, a value that could be taken for several. */
export const urisOf = (names: string): readonly string[] =>
  [...names.matchAll(/(?:^|, )([\w ]+):("(?:[^"\\]|\\.)*"|[^,]*)/gy)].flatMap(([, kind, value = '']) =>
    kind === 'URI' ? [value.startsWith('"') ? (JSON.parse(value) as string) : value] : [],
  );
