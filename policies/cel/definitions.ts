/** The text of `config.customFunctions`, taken apart: `name(a, b) { … }` and `this.name(a, more...) { … }`, one after the other. */
import { ProblemIn } from './problem.ts';

export interface Definition {
  readonly name: string;
  /** It is called on a value, which its body knows as `this`. */
  readonly onValue: boolean;
  readonly parameters: readonly string[];
  /** Takes what is left, as a list. */
  readonly rest: string | undefined;
  readonly body: string;
  /** Where in the text its name is, and where its body begins. */
  readonly offset: number;
  readonly bodyOffset: number;
}

const BLANK = /(?:\s|\/\/[^\n]*)*/y;
const HEAD = /(this\s*\.\s*)?([A-Za-z_]\w*)\s*\(([\w\s,.]*)\)\s*\{/y;
const PARAMETER = /^([A-Za-z_]\w*)(\.\.\.)?$/;
/** Texts and comments of CEL, in which a brace is no brace; then braces, and anything else. */
const TOKEN = new RegExp(
  [
    String.raw`//[^\n]*`,
    String.raw`[rR](?:"""[\s\S]*?"""|'''[\s\S]*?'''|"[^"\n]*"|'[^'\n]*')`,
    String.raw`"""(?:\\[\s\S]|[^\\])*?"""|'''(?:\\[\s\S]|[^\\])*?'''`,
    String.raw`"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'`,
    String.raw`[^"'{}/rR]+|[\s\S]`,
  ].join('|'),
  'y',
);

/** @throws ProblemIn for the first place where it is not written so. */
export function definitionsIn(text: string): readonly Definition[] {
  const found: Definition[] = [];
  for (let offset = endOf(BLANK, text, 0); offset < text.length; ) {
    const definition = definitionAt(text, offset);
    found.push(definition);
    offset = endOf(BLANK, text, definition.bodyOffset + definition.body.length + 1);
  }
  return found;
}

function definitionAt(text: string, offset: number): Definition {
  HEAD.lastIndex = offset;
  const [head, onValue, name = '', written = ''] = HEAD.exec(text) ?? [];
  if (head === undefined) throw new ProblemIn(offset, 'expected a function: name(a, b) { expression }, or this.name(a, b) { expression }');
  const bodyOffset = offset + head.length;
  const end = closing(text, bodyOffset);
  if (end === undefined) throw new ProblemIn(bodyOffset - 1, 'this brace is never closed');
  return { name, onValue: onValue !== undefined, ...parametersOf(written, offset), body: text.slice(bodyOffset, end), offset, bodyOffset };
}

function parametersOf(written: string, offset: number): Pick<Definition, 'parameters' | 'rest'> {
  const parameters: string[] = [];
  const all = written.trim() === '' ? [] : written.split(',');
  for (const [index, one] of all.entries()) {
    const [, name, rest] = PARAMETER.exec(one.trim()) ?? [];
    if (name === undefined) throw new ProblemIn(offset, 'expected the names of its arguments, with commas between them');
    if (rest === undefined) parameters.push(name);
    else if (index === all.length - 1) return { parameters, rest: name };
    else throw new ProblemIn(offset, 'only the last argument may take all that is left (...)');
  }
  return { parameters, rest: undefined };
}

/** The offset of the brace that closes what was opened before `from`. */
function closing(text: string, from: number): number | undefined {
  let open = 1;
  for (let offset = from; offset < text.length; offset = TOKEN.lastIndex) {
    TOKEN.lastIndex = offset;
    const [token] = TOKEN.exec(text) ?? [''];
    if (token === '{') open += 1;
    if (token === '}') open -= 1;
    if (open === 0) return offset;
  }
  return undefined;
}

function endOf(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  pattern.exec(text);
  return Math.max(pattern.lastIndex, from);
}
