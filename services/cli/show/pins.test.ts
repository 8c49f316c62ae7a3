import picocolors from 'picocolors';
import { describe, expect, test } from 'vitest';
import { type PinFacts, isNamed, pinFacts } from '../core/pin-facts.ts';
import { pinShown, pinsTable } from './pins.ts';

const [ONE, OTHER] = ['1'.repeat(64), '2'.repeat(64)];
const NOW = Date.parse('2026-11-24T12:00:00Z');
const plain = picocolors.createColors(false);
const pins = { v: 1 as const, backend: 'b', target: 't', firstSeenAt: NOW - 3_600_000, tools: [] };

describe('the facts of a tool', () => {
  test.each<[state: string, pin: Parameters<typeof pinFacts>[1], facts: object]>([
    ['pinned', { name: 'a', pinned: ONE, pinnedAt: NOW }, { pinned: ONE, since: '2026-11-24T12:00:00.000Z' }],
    ['changed', { name: 'a', pinned: ONE, pinnedAt: 0, seen: { hash: OTHER, at: NOW } }, { pinned: ONE, seen: OTHER, since: '2026-11-24T12:00:00.000Z' }],
    ['changed-back', { name: 'a', pinned: ONE, pinnedAt: 0, seen: { hash: ONE, at: NOW } }, { pinned: ONE, seen: ONE }],
    ['new', { name: 'a', seen: { hash: ONE, at: NOW } }, { seen: ONE }],
  ])('say that it is %s', (state, pin, facts) => {
    expect(pinFacts(pins, pin)).toMatchObject({ backend: 'b', target: 't', tool: 'a', state, ...facts });
  });

  test('lead back from what is typed', () => {
    expect(['t', 'b/t', 'b', 'x/t', 'T'].filter((word) => isNamed(pins, word))).toEqual(['t', 'b/t']);
  });
});

test('the table of tools has a line for each, whatever they are called', () => {
  const facts: PinFacts[] = [
    { backend: 'b', target: 't', tool: 'read', state: 'pinned', pinned: ONE, since: '2026-11-24T11:00:00Z' },
    { backend: 'b', target: 't', tool: 'a\nb', state: 'new', seen: OTHER, since: '2026-11-24T11:59:00Z' },
  ];
  expect(pinsTable(facts, NOW).split('\n')).toEqual([
    'BACKEND  TARGET  TOOL    STATE   PINNED        SEEN          SINCE',
    'b        t       read    pinned  111111111111  -             1h',
    'b        t       "a\\nb"  new     -             222222222222  1m',
  ]);
});

describe('a tool that changed', () => {
  const facts: PinFacts = { backend: 'b', target: 't', tool: 'read', state: 'changed', pinned: ONE, seen: OTHER, since: '2026-11-24T11:00:00Z' };
  const of = (description: string): string => JSON.stringify({ description, name: 'read' });

  test('is shown with what is taken and what is given, line by line of its texts', () => {
    const shown = pinShown(facts, { pinned: of('Reads.\nOnly once.'), seen: of('Reads.\nAnd sends.') }, plain);
    expect(shown.split('\n').slice(4)).toEqual(['  {', '    "description": "Reads.\\n', '- Only once.",', '+ And sends.",', '    "name": "read"', '  }']);
  });

  test('is shown whole where one of both was not kept', () => {
    expect(pinShown(facts, { pinned: undefined, seen: of('x') }, plain)).toContain('pinned 1111111111111111111111111111111111111111111111111111111111111111 (its definition was not kept)\nseen   2222');
    expect(pinShown(facts, { pinned: undefined, seen: of('x') }, plain)).toContain('+   "description": "x",');
  });

  test('is shown however much changed', () => {
    const lines = (word: string): string => of(Array.from({ length: 5_000 }, (_, index) => `${word} ${index}`).join('\n'));
    const shown = pinShown(facts, { pinned: lines('one'), seen: lines('other') }, plain);
    expect(shown.match(/^- one \d+\\n$/gm)).toHaveLength(4_998);
    expect(shown.match(/^\+ other \d+\\n$/gm)).toHaveLength(4_998);
  });
});
