import { describe, expect, test } from 'vitest';
import { readSessionSettings } from './settings.ts';

describe('the settings of the session service', () => {
  test('let a principal have 10,000 sessions when nothing is set', () => {
    expect(readSessionSettings({})).toEqual({ passivateMs: 300_000, tickMs: 5_000, sweepMs: 60_000, perPrincipalMax: 10_000 });
  });

  test.each([
    ['1', 1],
    ['10000000', 10_000_000],
  ])('take PARLEY_SESSIONS_PER_PRINCIPAL=%s', (value, perPrincipalMax) => {
    expect(readSessionSettings({ PARLEY_SESSIONS_PER_PRINCIPAL: value })).toMatchObject({ perPrincipalMax });
  });

  test.each(['0', '10000001', '1.5', 'many'])('refuse PARLEY_SESSIONS_PER_PRINCIPAL=%s by name', (value) => {
    expect(() => readSessionSettings({ PARLEY_SESSIONS_PER_PRINCIPAL: value })).toThrow(/^PARLEY_SESSIONS_PER_PRINCIPAL must be/);
  });
});
