/**
 * Where a text stops being JSON. JSON.parse says so only for some mistakes and only inside a message, so after it has
 * refused a text this finds the place. It never decides what is valid: JSON.parse does.
 */

const SPACE = /[ \t\r\n]*/y;
// oxlint-disable-next-line no-control-regex -- control characters are what JSON forbids inside strings
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

export interface JsonFault {
  /** From 0. */
  readonly offset: number;
  /** What could have stood there instead. */
  readonly expected: string;
}

type Wanted = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma or ]' | 'comma or }' | 'end';

const EXPECTED: Record<Wanted, string> = {
  value: 'a value',
  'value or ]': "a value or ']'",
  key: 'a name in double quotes',
  'key or }': "a name in double quotes or '}'",
  colon: "':'",
  'comma or ]': "',' or ']'",
  'comma or }': "',' or '}'",
  end: 'nothing more',
};

/** The first place that fits no JSON text, or undefined when the whole text does. */
export function findJsonFault(text: string): JsonFault | undefined {
  const open: ('[' | '{')[] = [];
  let wanted: Wanted = 'value';
  let offset = matchAt(SPACE, text, 0) ?? 0;
  while (offset < text.length) {
    const step = take(wanted, text, offset, open);
    if (step === undefined) return { offset, expected: EXPECTED[wanted] };
    wanted = step.wanted;
    offset = matchAt(SPACE, text, step.offset) ?? step.offset;
  }
  return wanted === 'end' ? undefined : { offset, expected: EXPECTED[wanted] };
}

interface Step {
  readonly wanted: Wanted;
  readonly offset: number;
}

function take(wanted: Wanted, text: string, offset: number, open: ('[' | '{')[]): Step | undefined {
  const char = text[offset] ?? '';
  const next = { offset: offset + 1 };
  switch (wanted) {
    case 'value or ]':
      if (char === ']') return closed(open, next.offset);
      return value(text, offset, open);
    case 'value':
      return value(text, offset, open);
    case 'key or }':
      if (char === '}') return closed(open, next.offset);
      return key(text, offset);
    case 'key':
      return key(text, offset);
    case 'colon':
      return char === ':' ? { ...next, wanted: 'value' } : undefined;
    case 'comma or ]':
      if (char === ']') return closed(open, next.offset);
      return char === ',' ? { ...next, wanted: 'value' } : undefined;
    case 'comma or }':
      if (char === '}') return closed(open, next.offset);
      return char === ',' ? { ...next, wanted: 'key' } : undefined;
    case 'end':
      return undefined;
  }
}

function value(text: string, offset: number, open: ('[' | '{')[]): Step | undefined {
  const char = text[offset];
  if (char === '[' || char === '{') {
    open.push(char);
    return { offset: offset + 1, wanted: char === '[' ? 'value or ]' : 'key or }' };
  }
  const end = matchAt(char === '"' ? STRING : SCALAR, text, offset);
  return end === undefined ? undefined : { offset: end, wanted: afterValue(open) };
}

function key(text: string, offset: number): Step | undefined {
  const end = matchAt(STRING, text, offset);
  return end === undefined ? undefined : { offset: end, wanted: 'colon' };
}

function closed(open: ('[' | '{')[], offset: number): Step {
  open.pop();
  return { offset, wanted: afterValue(open) };
}

function afterValue(open: readonly ('[' | '{')[]): Wanted {
  const around = open.at(-1);
  if (around === undefined) return 'end';
  return around === '[' ? 'comma or ]' : 'comma or }';
}

/** The end of the match that starts exactly at `offset`. */
function matchAt(pattern: RegExp, text: string, offset: number): number | undefined {
  pattern.lastIndex = offset;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}
