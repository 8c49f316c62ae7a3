import { describe, expect, test } from 'vitest';
import { mergeCacheRules, mergeCapabilities, mergeDiscover, mergeInitialize } from './merge.ts';

const from = (target: string, value: Record<string, unknown>) => ({ target, value });

describe('capabilities of several targets', () => {
  test('are those that any of them has', () => {
    const merged = mergeCapabilities([{ tools: { listChanged: true }, completions: {} }, { tools: {}, logging: {}, resources: { subscribe: true } }, undefined]);
    expect(merged).toEqual({ tools: { listChanged: true }, completions: {}, logging: {}, resources: { subscribe: true } });
  });

  test('that one has and another says it has not, are there', () => {
    expect(mergeCapabilities([{ tools: { listChanged: true } }, { tools: { listChanged: false } }])).toEqual({ tools: { listChanged: true } });
    expect(mergeCapabilities([{ tools: { listChanged: false } }])).toEqual({ tools: {} });
  });

  test('for tasks and experiments are not offered: their ids lead to no target', () => {
    expect(mergeCapabilities([{ tasks: { list: {} }, experimental: { x: {} }, tools: {} }])).toEqual({ tools: {} });
  });
});

describe('initialize results of several targets', () => {
  test('speak the lowest version, and give the instructions of each under its name', () => {
    const merged = mergeInitialize([
      from('one', { protocolVersion: '2025-11-25', capabilities: { tools: {} }, instructions: 'first' }),
      from('two', { protocolVersion: '2025-03-26', capabilities: { prompts: {} } }),
      from('three', { protocolVersion: '2025-06-18', capabilities: {}, instructions: 'third' }),
    ]);
    expect(merged).toMatchObject({
      protocolVersion: '2025-03-26',
      capabilities: { tools: {}, prompts: {} },
      serverInfo: { name: 'parley' },
      instructions: '[one]\nfirst\n\n[three]\nthird',
    });
  });

  test('without instructions have none', () => {
    expect(mergeInitialize([from('one', { protocolVersion: '2025-11-25' })])).not.toHaveProperty('instructions');
  });
});

describe('discover results of several targets', () => {
  test('offer the versions all of them speak, and the strictest rule for caches', () => {
    const merged = mergeDiscover([
      from('one', { supportedVersions: ['2027-01-01', '2026-07-28'], capabilities: { tools: {} }, ttlMs: 5_000, cacheScope: 'public' }),
      from('two', { supportedVersions: ['2026-07-28'], capabilities: { prompts: {} }, ttlMs: 1_000, cacheScope: 'private' }),
    ]);
    expect(merged).toMatchObject({ resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: { tools: {}, prompts: {} }, ttlMs: 1_000, cacheScope: 'private' });
  });
});

test('a cache rule is there only when a target gave one, and public only when all are', () => {
  expect(mergeCacheRules([{}, {}])).toEqual({});
  expect(mergeCacheRules([{ ttlMs: 5, cacheScope: 'public' }])).toEqual({ ttlMs: 5, cacheScope: 'public' });
  expect(mergeCacheRules([{ ttlMs: 5, cacheScope: 'public' }, { ttlMs: 9 }])).toEqual({ ttlMs: 5, cacheScope: 'private' });
});
