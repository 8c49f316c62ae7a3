import { stripVTControlCharacters } from 'node:util';
import picocolors from 'picocolors';
import { describe, expect, test } from 'vitest';
import type { SessionFacts } from '../core/session-facts.ts';
import { ago, sessionHead, sessionLine } from './session-line.ts';

const NOW = Date.parse('2026-11-24T12:00:00Z');
const plain = picocolors.createColors(false);
const facts: SessionFacts = {
  id: 'abcdefgh',
  state: 'live',
  principal: 'anonymous',
  route: 'default',
  backend: 'mcp',
  owner: 'session-0f3a9c51d27e',
  openedAt: '2026-11-24T09:00:00Z',
  seenAt: '2026-11-24T11:59:18Z',
  client: { name: 'inspector', version: '2.12.0' },
};

describe('the line of a session', () => {
  test('stands under its head', () => {
    const head = sessionHead();
    const line = sessionLine(facts, NOW, plain);
    expect(line).toBe('abcdefgh  anonymous       default           mcp               live     session-0f3a9c51d27e  3h      42s     "inspector 2.12.0"');
    for (const [column, value] of [['PRINCIPAL', 'anonymous'], ['STATE', 'live'], ['SEEN', '42s'], ['CLIENT', '"inspector']] as const) {
      expect(line.indexOf(value)).toBe(head.indexOf(column));
    }
  });

  test('cuts nothing off that is too long for its column', () => {
    const principal = 'a'.repeat(64);
    expect(sessionLine({ ...facts, principal }, NOW, plain)).toContain(`${principal}  default`);
  });

  test('says what there is to say of a record that cannot be read', () => {
    expect(sessionLine({ id: 'abcdefgh', state: 'unreadable' }, NOW, plain)).toMatch(/^abcdefgh {2}- +- +- +unreadable {2}- +- +- +-$/);
  });

  test('is as wide in colours as without', () => {
    const painted = sessionLine({ ...facts, state: 'at rest' }, NOW, picocolors.createColors(true));
    expect(stripVTControlCharacters(painted)).toBe(sessionLine({ ...facts, state: 'at rest' }, NOW, plain));
    expect(painted).not.toBe(sessionLine({ ...facts, state: 'at rest' }, NOW, plain));
  });
});

test.each([
  [0, '0s'],
  [999, '0s'],
  [59_999, '59s'],
  [60_000, '1m'],
  [3_599_999, '59m'],
  [3_600_000, '1h'],
  [86_400_000, '1d'],
  [400 * 86_400_000, '400d'],
  [-5_000, '0s'],
])('%d ms ago are %s', (ms, shown) => {
  expect(ago(new Date(NOW - ms).toISOString(), NOW)).toBe(shown);
});

test('a time nobody knows is no time', () => {
  expect(ago(undefined, NOW)).toBe('-');
  expect(ago('1e+300', NOW)).toBe('-');
});
