import { describe, expect, test } from 'vitest';
import { PINNED_TOOLS_MAX, type ToolPins } from '#protocol/records/tool-pins.ts';
import { SHOWN_AGAIN_MS, type Shown, approve, firstSight, notice, trustedTools } from './pins.ts';

const PLACE = { backend: 'b', target: 't' };
const AT = 1_000_000;
const hash = (letter: string): string => letter.repeat(64);
const shown = (text: string): Shown[] => text.split(' ').filter((one) => one !== '').map((one) => ({ name: one.split('=')[0] ?? '', hash: hash(one.split('=')[1] ?? '0') }));
const seen = (text: string): ToolPins => firstSight(PLACE, shown(text), AT);
const trusted = (pins: ToolPins): string => [...trustedTools(pins)].map(([name, of]) => `${name}=${of[0]}`).join(' ');

/** What becomes of pins that are shown these lists, one after the other. */
function after(pins: ToolPins, ...lists: string[]): ToolPins {
  return lists.reduce((now, list) => notice(now, shown(list), AT + 1)?.pins ?? now, pins);
}

test('a target that was never seen is believed, the first word of each name', () => {
  const pins = seen('a=1 b=2 a=3');
  expect(trusted(pins)).toBe('a=1 b=2');
  expect(pins).toMatchObject({ v: 1, backend: 'b', target: 't', firstSeenAt: AT, tools: [{ name: 'a', pinned: hash('1'), pinnedAt: AT }, { name: 'b' }] });
});

test('what is shown as it is pinned is no news', () => {
  expect(notice(seen('a=1 b=2'), shown('b=2 a=1'), AT + 1)).toBeUndefined();
  expect(notice(seen('a=1 b=2'), shown('b=2'), AT + 1)).toBeUndefined();
  expect(notice(seen('a=1 b=2'), [], AT + 1, new Set())).toBeUndefined();
});

test('a tool that changed, and one that is added, are news and are not trusted', () => {
  const noticed = notice(seen('a=1 b=2'), shown('a=9 b=2 c=3'), AT + 1);
  expect(noticed?.news).toEqual([
    { kind: 'changed', name: 'a', hash: hash('9'), before: hash('1') },
    { kind: 'added', name: 'c', hash: hash('3'), before: undefined },
  ]);
  expect(trusted(noticed?.pins as ToolPins)).toBe('b=2');
  expect(notice(noticed?.pins as ToolPins, shown('a=9 c=3'), AT + 2)).toBeUndefined();
});

test('two definitions under one name in one list are a change', () => {
  expect(trusted(after(seen('a=1'), 'a=1 a=2'))).toBe('');
});

test('a definition that comes back makes nothing good, and is remembered after a while', () => {
  const changed = after(seen('a=1'), 'a=9');
  expect(notice(changed, shown('a=1'), AT + 1 + SHOWN_AGAIN_MS - 1)).toBeUndefined();
  const back = notice(changed, shown('a=1'), AT + 1 + SHOWN_AGAIN_MS);
  expect(back?.news).toEqual([]);
  expect(back?.pins.tools).toMatchObject([{ name: 'a', pinned: hash('1'), seen: { hash: hash('1') } }]);
  expect(trusted(back?.pins as ToolPins)).toBe('');
});

test('a change of what waits already is news', () => {
  expect(notice(after(seen('a=1'), 'a=8 c=3'), shown('a=9 c=4'), AT + 2)?.news).toMatchObject([
    { kind: 'changed', name: 'a', hash: hash('9'), before: hash('1') },
    { kind: 'added', name: 'c', hash: hash('4'), before: undefined },
  ]);
});

test('a name nobody approved of is forgotten when a whole list is without it, and no other', () => {
  const pins = after(seen('a=1 b=2'), 'c=3');
  expect(notice(pins, shown('a=1'), AT + 2, new Set(['a']))?.pins.tools.map(({ name }) => name)).toEqual(['a', 'b']);
  expect(notice(pins, shown('a=1 c=3'), AT + 2, new Set(['a', 'c']))).toBeUndefined();
});

describe('the number of tools is limited', () => {
  const many = (count: number): Shown[] => Array.from({ length: count }, (_, index) => ({ name: `t${index}`, hash: hash('1') }));

  test('at first sight', () => {
    expect(firstSight(PLACE, many(PINNED_TOOLS_MAX), AT).tools).toHaveLength(PINNED_TOOLS_MAX);
    expect(firstSight(PLACE, many(PINNED_TOOLS_MAX + 1), AT).tools).toHaveLength(PINNED_TOOLS_MAX);
  });

  test('afterwards, and what is too much is not trusted', () => {
    const full = firstSight(PLACE, many(PINNED_TOOLS_MAX), AT);
    expect(notice(full, shown('extra=1'), AT + 1)).toBeUndefined();
    expect(trustedTools(full).has('extra')).toBe(false);
    const room = firstSight(PLACE, many(PINNED_TOOLS_MAX - 1), AT);
    expect(notice(room, shown('extra=1 more=1'), AT + 1)?.news.map(({ name }) => name)).toEqual(['extra']);
  });
});

describe('an approval', () => {
  const waiting = after(seen('a=1 b=2'), 'a=9 c=3');

  test('pins what was seen, of those that are meant', () => {
    expect(trusted(approve(waiting, new Map([['a', hash('9')]]), AT + 5))).toBe('a=9 b=2');
    expect(trusted(approve(waiting, new Map([['a', hash('9')], ['c', hash('3')]]), AT + 5))).toBe('a=9 b=2 c=3');
    expect(approve(waiting, new Map([['c', hash('3')]]), AT + 5).tools[2]).toEqual({ name: 'c', pinned: hash('3'), pinnedAt: AT + 5 });
  });

  test('of the definition that is pinned already keeps that', () => {
    expect(trusted(approve(waiting, new Map([['a', hash('1')]]), AT + 5))).toBe('a=1 b=2');
  });

  test('of a definition that is not the one that waits changes nothing', () => {
    expect(approve(waiting, new Map([['a', hash('7')], ['c', hash('7')], ['nobody', hash('1')]]), AT + 5)).toEqual(waiting);
  });
});
