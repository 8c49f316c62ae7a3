import { describe, expect, test } from 'vitest';
import { readConnectorSettings } from './settings.ts';

describe('the settings of the connector', () => {
  test('are 200 ms, ten minutes and 15 s when nothing is set', () => {
    expect(readConnectorSettings({})).toEqual({ durableAfterMs: 200, answerWaitMs: 600_000, drainMs: 15_000, handleKey: undefined });
  });

  test('are durations with a unit', () => {
    expect(readConnectorSettings({ PARLEY_DURABLE_AFTER: '1s', PARLEY_ANSWER_WAIT: '2m', PARLEY_DRAIN: '500ms' })).toMatchObject({ durableAfterMs: 1_000, answerWaitMs: 120_000, drainMs: 500 });
  });

  test('hold the key of handles, however its digits are written', () => {
    expect(readConnectorSettings({ PARLEY_HANDLE_KEY: 'AB'.repeat(32) }).handleKey).toBe('ab'.repeat(32));
  });

  test.each([
    ['PARLEY_DURABLE_AFTER', '61s'],
    ['PARLEY_ANSWER_WAIT', '25h'],
    ['PARLEY_DURABLE_AFTER', '200'],
    ['PARLEY_ANSWER_WAIT', 'soon'],
    ['PARLEY_HANDLE_KEY', 'ab'.repeat(31)],
    ['PARLEY_HANDLE_KEY', 'no'.repeat(32)],
  ])('%s=%s is refused by name', (name, value) => {
    expect(() => readConnectorSettings({ [name]: value })).toThrow(new RegExp(`^${name} must be`));
  });
});
