import { describe, expect, test } from 'vitest';
import { readIngressSettings } from './settings.ts';

describe('the settings of ingress', () => {
  test('have a lame duck by default where there are others to send clients to, and none where there are not', () => {
    expect([readIngressSettings({}, false).lameDuckMs, readIngressSettings({}, true).lameDuckMs]).toEqual([1_000, 0]);
    expect(readIngressSettings({ PARLEY_LAME_DUCK: '250ms' }, true).lameDuckMs).toBe(250);
  });

  test('drain as long as the host does, which reads the same variable', () => {
    expect([readIngressSettings({}, true).drainMs, readIngressSettings({ PARLEY_DRAIN: '3s' }, true).drainMs]).toEqual([15_000, 3_000]);
  });

  test('name every variable that is wrong', () => {
    expect(() => readIngressSettings({ PARLEY_LAME_DUCK: '1', PARLEY_BODY_BYTES: 'many' }, true)).toThrow(/PARLEY_BODY_BYTES[^]*PARLEY_LAME_DUCK/);
  });
});
