/**
 * Text to plain values, with the place of every path kept. YAML 1.2 core schema; JSON is read as the YAML it is.
 * Nothing here knows what the keys mean.
 *
 * The bounds come before the work: a hostile megabyte of brackets costs the parser seconds and stack, so nesting is
 * counted on the text first, and aliases are counted before they are copied out.
 */
import { LineCounter, isMap, isNode, isScalar, isSeq, parseDocument } from 'yaml';
import type { Document, ParsedNode } from 'yaml';
import { pathText } from './problem.ts';
import type { Path, Position, Problem } from './problem.ts';

export const DOCUMENT_BYTES_MAX = 1024 * 1024;
export const DEPTH_MAX = 64;
/** What all aliases together may copy, in the parser's own count. */
export const ALIASES_MAX = 100;
const PROBLEMS_MAX = 50;

export interface Reading {
  /** Undefined when the text could not be read; then `problems` says why. */
  readonly document: unknown;
  readonly problems: Problem[];
  /** The place of a path as written by `pathText`, or of its nearest written ancestor. */
  readonly locate: (path: string) => Position;
}

const START: Position = { line: 1, column: 1 };

export function readDocument(text: string, source: { file: string }): Reading {
  const refuse = (message: string, at: Position = START, hint?: string): Reading => ({
    document: undefined,
    problems: [{ severity: 'error', file: source.file, ...at, path: '', message, ...(hint === undefined ? {} : { hint }) }],
    locate: () => START,
  });
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > DOCUMENT_BYTES_MAX) return refuse(`the document is ${bytes} bytes; at most ${DOCUMENT_BYTES_MAX} are read`);
  const deep = tooDeep(text);
  if (deep !== undefined) return refuse(`nested deeper than ${DEPTH_MAX} levels`, deep);

  const lines = new LineCounter();
  const parsed = parseDocument(text, { lineCounter: lines, stringKeys: true, prettyErrors: false, logLevel: 'error' });
  const faults = [...parsed.errors, ...parsed.warnings].slice(0, PROBLEMS_MAX);
  if (faults.length > 0) {
    const problems = faults.map((fault) => ({
      severity: 'error' as const,
      file: source.file,
      ...position(lines, fault.pos[0]),
      path: '',
      message: fault.code === 'DUPLICATE_KEY' ? `the key "${wordAt(text, fault.pos[0])}" is written twice` : fault.message,
    }));
    return { document: undefined, problems, locate: () => START };
  }
  return plainValues(parsed, lines, refuse);
}

function plainValues(
  parsed: Document.Parsed,
  lines: LineCounter,
  refuse: (message: string, at?: Position, hint?: string) => Reading,
): Reading {
  const places = new Map<string, Position>();
  const tooDeepAt = record(parsed.contents, lines, places);
  if (tooDeepAt !== undefined) return refuse(`nested deeper than ${DEPTH_MAX} levels`, tooDeepAt);
  let document: unknown;
  try {
    document = parsed.toJS({ maxAliasCount: ALIASES_MAX });
  } catch (error) {
    return refuse(error instanceof Error ? error.message : 'the aliases cannot be resolved', START, `aliases may copy at most ${ALIASES_MAX} nodes`);
  }
  if (document === null || document === undefined) return refuse('the document is empty');
  return { document, problems: [], locate: (path) => nearest(places, path) };
}

interface Placed {
  readonly node: unknown;
  readonly path: Path;
  /** Of the key of a pair, or of the first character of an item. */
  readonly offset: number;
}

/** Walks the syntax tree once and notes where each path begins. Returns the first place that lies too deep. */
function record(root: ParsedNode | null, lines: LineCounter, places: Map<string, Position>): Position | undefined {
  const waiting: Placed[] = [{ node: root, path: [], offset: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { node, path, offset } = next;
    const at = position(lines, offset);
    if (path.length > DEPTH_MAX) return at;
    if (path.length > 0) places.set(pathText(path), at);
    for (const child of children(node, path)) waiting.push(child);
  }
  return undefined;
}

function children(node: unknown, path: Path): Placed[] {
  if (isMap(node)) {
    return node.items.flatMap(({ key, value }): Placed[] => (isScalar(key) ? [{ node: value, path: [...path, String(key.value)], offset: key.range?.[0] ?? 0 }] : []));
  }
  if (!isSeq(node)) return [];
  return node.items.map((item, index) => ({ node: item, path: [...path, index], offset: isNode(item) ? (item.range?.[0] ?? 0) : 0 }));
}

function nearest(places: ReadonlyMap<string, Position>, path: string): Position {
  for (let text = path; text !== ''; text = parent(text)) {
    const found = places.get(text);
    if (found !== undefined) return found;
  }
  return START;
}

function parent(path: string): string {
  const quoted = /\["(?:[^"\\]|\\.)*"\]$/.exec(path);
  if (quoted !== null) return path.slice(0, quoted.index);
  return path.slice(0, Math.max(path.lastIndexOf('.'), path.lastIndexOf('['), 0));
}

function position(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  return line === 0 ? START : { line, column: col };
}

const wordAt = (text: string, offset: number): string => /^["']?([^\s"':,}]*)/.exec(text.slice(offset, offset + 100))?.[1] ?? '';

/**
 * Brackets and dashes counted on the raw text. Quoted brackets count too, which can only refuse a document with
 * hundreds of unbalanced brackets inside strings.
 */
function tooDeep(text: string): Position | undefined {
  const slack = DEPTH_MAX * 4;
  let open = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0x5b || code === 0x7b) open++;
    else if ((code === 0x5d || code === 0x7d) && open > 0) open--;
    if (open > slack) return place(text, index);
  }
  const dashes = /(?:[-?:][ \t]+){64,}/.exec(text);
  return dashes === null ? undefined : place(text, dashes.index);
}

function place(text: string, offset: number): Position {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
