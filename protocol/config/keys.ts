/** Keys of backends and routes: subject tokens, readable where the operator gave a name, unique in a generation. */
import { createHash } from 'node:crypto';

const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;
const READABLE_CHARS_MAX = 48;
const HASH_CHARS = 8;

/** Objects with their keys sorted, so that the order in which a document was written does not matter. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const pairs = Object.entries(value).filter(([, inner]) => inner !== undefined);
  pairs.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${pairs.map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`).join(',')}}`;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const DIGEST_CHARS = 16;

/** Of a document, or a part of one, as it is written: a subject token. */
export const digestOf = (written: unknown): string => sha256(canonicalJson(written)).slice(0, DIGEST_CHARS);

export const generationId = (document: unknown): string => digestOf(document);

export interface KeyMaker {
  /** `name` itself when it is a free token, else a readable token and a short hash of name and place. */
  make(name: string | undefined, fallback: string, place: string): string;
}

/** Hands out each key once. Explicit names should be asked for first: a derived key never takes one that is taken. */
export function keyMaker(taken: Iterable<string> = []): KeyMaker {
  const used = new Set(taken);
  return {
    make(name, fallback, place) {
      if (name !== undefined && TOKEN.test(name) && !used.has(name)) return take(used, name);
      const readable = (name ?? fallback).replaceAll(/[^A-Za-z0-9_-]+/g, '-').slice(0, READABLE_CHARS_MAX);
      // A named thing keeps its key when the document is reordered; an unnamed one has only its place.
      for (let attempt = 0; ; attempt++) {
        const identity = attempt === 0 ? (name ?? place) : `${name ?? ''} ${place} ${attempt}`;
        const key = `${readable}-${sha256(identity).slice(0, HASH_CHARS)}`;
        if (!used.has(key)) return take(used, key);
      }
    },
  };
}

function take(used: Set<string>, key: string): string {
  used.add(key);
  return key;
}
