/**
 * Replacing by a regular expression. The library's port of RE2 says whether a pattern matches and no more, so its program
 * is run here once again, keeping where each group began and ended: all threads side by side, character by character, the
 * ones that came first preferred (R. Cox, "Regular Expression Matching: the Virtual Machine Approach"). No backtracking:
 * time is the length of the text times the size of the program, and each part of it is paid for in steps.
 */
import type { RE2JS } from '@bufbuild/re2';
import { boundedText, spend, stepsForText } from './bounds.ts';
import { compilePattern } from './regex.ts';

type Program = ReturnType<RE2JS['re2']>['prog'];

/** Kinds of instructions, as the library numbers them. */
const OP = { alt: 1, altMatch: 2, capture: 3, emptyWidth: 4, fail: 5, match: 6, nop: 7, firstRune: 8, lastRune: 11 } as const;
/** What `emptyWidth` may ask of a place between two characters, as the library numbers it. */
const PLACE = { beginLine: 1, endLine: 2, beginText: 4, endText: 8, wordBoundary: 16, noWordBoundary: 32 } as const;
/** Entering one moves a thread and its groups. */
const STEPS_PER_INSTRUCTION = 1.5;

/** Starts and ends: of the whole match first, then of each group. -1: the group took no part. */
type Groups = readonly number[];

interface Thread {
  readonly pc: number;
  readonly groups: Groups;
}

/** Replaces every match. In `by`, `$1`, `${1}` and `${name}` are groups, `$$` is a dollar. */
export function replacePattern(text: string, pattern: string, by: string): string {
  const regex = compilePattern(pattern);
  const names = regex.namedGroups();
  const parts: string[] = [];
  let [copied, from, chars] = [0, 0, 0];
  const put = (part: string): void => {
    chars += part.length;
    boundedText(chars);
    spend(stepsForText(part.length));
    parts.push(part);
  };
  while (from <= text.length) {
    const groups = find(regex.re2().prog, text, from);
    if (groups === undefined) break;
    const [start = 0, end = 0] = groups;
    const emptyAfterMatch = start === end && start === copied && copied > 0 && parts.length > 0;
    if (!emptyAfterMatch) {
      put(text.slice(copied, start));
      put(filled(by, text, groups, names));
      copied = end;
    }
    from = start === end ? end + widthAt(text, end) : end;
  }
  put(text.slice(copied));
  return parts.join('');
}

function filled(by: string, text: string, groups: Groups, names: ReadonlyMap<string, number>): string {
  return by.replace(/\$(?:\$|(\d{1,2})|\{(\w{1,64})\})/g, (_whole, digits: string | undefined, name: string | undefined) => {
    if (digits === undefined && name === undefined) return '$';
    const group = Number(digits ?? (/^\d+$/.test(name ?? '') ? name : (names.get(name ?? '') ?? -1)));
    const [start = -1, end = -1] = group < 0 ? [] : groups.slice(2 * group, 2 * group + 2);
    return start < 0 || end < 0 ? '' : text.slice(start, end);
  });
}

const widthAt = (text: string, position: number): number => ((text.codePointAt(position) ?? 0) > 0xffff ? 2 : 1);

/** The leftmost match that begins at `from` or later. */
function find(program: Program, text: string, from: number): Groups | undefined {
  let found: Groups | undefined;
  let line = new Line(program);
  for (let position = from; ; ) {
    const rune = text.codePointAt(position) ?? -1;
    const width = rune > 0xffff ? 2 : 1;
    if (found === undefined) line.add({ pc: program.start, groups: [position, -1] }, position, placeAt(text, position));
    if (found !== undefined && line.threads.length === 0) return found;
    const next = new Line(program);
    const place = placeAt(text, position + width);
    for (const { pc, groups } of line.threads) {
      const instruction = program.getInst(pc);
      if (instruction.op === OP.match) {
        found = groups.with(1, position);
        break; // what comes later in the line is less preferred
      }
      if (rune >= 0 && instruction.matchRune(rune)) next.add({ pc: instruction.out, groups }, position + width, place);
    }
    if (rune < 0) return found;
    line = next;
    position += width;
  }
}

/** The threads at one position, in the order of preference. Each instruction is entered once: the first one there wins. */
class Line {
  readonly threads: Thread[] = [];
  readonly #entered = new Set<number>();
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
  }

  add(first: Thread, position: number, place: number): void {
    const waiting = [first];
    let entered = 0;
    for (let thread = waiting.pop(); thread !== undefined; thread = waiting.pop()) {
      if (this.#entered.has(thread.pc)) continue;
      this.#entered.add(thread.pc);
      entered += 1;
      waiting.push(...this.#after(thread, position, place).toReversed());
    }
    spend((entered + 1) * STEPS_PER_INSTRUCTION);
  }

  /** Where a thread goes without reading a character; the ones that wait for one, or are done, stay in the line. */
  #after({ pc, groups }: Thread, position: number, place: number): Thread[] {
    const { op, out, arg } = this.#program.getInst(pc);
    switch (op) {
      case OP.alt:
      case OP.altMatch:
        return [{ pc: out, groups }, { pc: arg, groups }];
      case OP.nop:
        return [{ pc: out, groups }];
      case OP.capture:
        return [{ pc: out, groups: at(groups, arg, position) }];
      case OP.emptyWidth:
        return (arg & ~place) === 0 ? [{ pc: out, groups }] : [];
      case OP.fail:
        return [];
      default:
        this.threads.push({ pc, groups });
        return [];
    }
  }
}

function at(groups: Groups, index: number, position: number): Groups {
  const longer = [...groups];
  while (longer.length <= index) longer.push(-1);
  longer[index] = position;
  return longer;
}

function placeAt(text: string, position: number): number {
  const before = position > 0 ? text.charCodeAt(position - 1) : -1;
  const after = position < text.length ? text.charCodeAt(position) : -1;
  const begins = (before < 0 ? PLACE.beginText | PLACE.beginLine : 0) | (before === 10 ? PLACE.beginLine : 0);
  const ends = (after < 0 ? PLACE.endText | PLACE.endLine : 0) | (after === 10 ? PLACE.endLine : 0);
  return begins | ends | (isWord(before) === isWord(after) ? PLACE.noWordBoundary : PLACE.wordBoundary);
}

const isWord = (code: number): boolean => code >= 0 && /\w/.test(String.fromCharCode(code));
