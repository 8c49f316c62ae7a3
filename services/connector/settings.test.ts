import { describe, expect, test } from 'vitest';
import { readConnectorSettings } from './settings.ts';

describe('the settings of the connector', () => {
  test('are 200 ms, ten minutes and 15 s when nothing is set', () => {
    expect(readConnectorSettings({})).toEqual({ durableAfterMs: 200, answerWaitMs: 600_000, drainMs: 15_000, handleKeys: undefined, dynamicNetworks: [] });
  });

  test('are durations with a unit', () => {
    expect(readConnectorSettings({ PARLEY_DURABLE_AFTER: '1s', PARLEY_ANSWER_WAIT: '2m', PARLEY_DRAIN: '500ms' })).toMatchObject({ durableAfterMs: 1_000, answerWaitMs: 120_000, drainMs: 500 });
  });

  test('hold the keys of handles, however their digits are written, and do not show them', () => {
    const given = (value: string) => readConnectorSettings({ PARLEY_HANDLE_KEY: value }).handleKeys;
    expect(given('AB'.repeat(32))?.map((key) => key.reveal())).toEqual(['ab'.repeat(32)]);
    expect(given(`${'ab'.repeat(32)},${'cd'.repeat(32)}`)?.map((key) => key.reveal())).toEqual(['ab'.repeat(32), 'cd'.repeat(32)]);
    expect(JSON.stringify(given('AB'.repeat(32)))).toBe('["<redacted>"]');
    expect(given(Array.from({ length: 4 }, () => 'ab'.repeat(32)).join(','))).toHaveLength(4);
  });

  test('name networks that dynamic backends may lead to, and single addresses', () => {
    const { dynamicNetworks } = readConnectorSettings({ PARLEY_DYNAMIC_NETWORKS: '127.0.0.1, 10.0.0.0/8,fd00::/8' });
    expect(dynamicNetworks.map(([address, bits]) => `${address.toString()}/${bits}`)).toEqual(['127.0.0.1/32', '10.0.0.0/8', 'fd00::/8']);
  });

  test.each([
    ['PARLEY_DYNAMIC_NETWORKS', 'localhost'],
    ['PARLEY_DYNAMIC_NETWORKS', '10.0.0.0/33'],
    ['PARLEY_DYNAMIC_NETWORKS', '10.0.0.0/8,'],
    ['PARLEY_DURABLE_AFTER', '61s'],
    ['PARLEY_ANSWER_WAIT', '25h'],
    ['PARLEY_DURABLE_AFTER', '200'],
    ['PARLEY_ANSWER_WAIT', 'soon'],
    ['PARLEY_HANDLE_KEY', 'ab'.repeat(31)],
    ['PARLEY_HANDLE_KEY', 'no'.repeat(32)],
    ['PARLEY_HANDLE_KEY', `${'ab'.repeat(32)},`],
    ['PARLEY_HANDLE_KEY', Array.from({ length: 5 }, () => 'ab'.repeat(32)).join(',')],
  ])('%s=%s is refused by name', (name, value) => {
    expect(() => readConnectorSettings({ [name]: value })).toThrow(new RegExp(`^${name} must be`));
  });
});
