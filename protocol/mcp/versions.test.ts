import { expect, test } from 'vitest';
import { LATEST_LEGACY, LATEST_MODERN, LEGACY_VERSIONS, MODERN_VERSIONS, atLeast, isLegacyVersion, isModernVersion, lowest } from './versions.ts';

test('every revision falls into one era, and no other text into any', () => {
  for (const version of LEGACY_VERSIONS) expect([isLegacyVersion(version), isModernVersion(version)]).toEqual([true, false]);
  for (const version of MODERN_VERSIONS) expect([isLegacyVersion(version), isModernVersion(version)]).toEqual([false, true]);
  for (const text of ['', '2025-11-26', '2026-07-28 ', 'latest']) expect([isLegacyVersion(text), isModernVersion(text)]).toEqual([false, false]);
});

test('revisions are listed newest first', () => {
  expect([LATEST_LEGACY, LATEST_MODERN]).toEqual(['2025-11-25', '2026-07-28']);
  expect(LEGACY_VERSIONS.toSorted().toReversed()).toEqual([...LEGACY_VERSIONS]);
});

test('the older of two revisions is the lowest', () => {
  expect(lowest(['2025-11-25', '2024-11-05', '2025-06-18'])).toBe('2024-11-05');
  expect([atLeast('2025-11-25', '2025-11-25'), atLeast('2025-06-18', '2025-11-25')]).toEqual([true, false]);
});
