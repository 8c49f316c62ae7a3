import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Naming } from './naming.ts';

type Mode = 'conditional' | 'always' | 'never';

const naming = (prefixMode: Mode, ...names: string[]): Naming =>
  new Naming({ prefixMode, targets: names.map((name) => ({ kind: 'mcp' as const, name, url: 'http://x/mcp', timeoutMs: undefined })) });

describe('names of several targets', () => {
  test.each<[Mode, string[], string]>([
    ['conditional', ['one'], 'echo'],
    ['conditional', ['one', 'two'], 'one_echo'],
    ['always', ['one'], 'one_echo'],
    ['always', ['one', 'two'], 'one_echo'],
    ['never', ['one', 'two'], 'echo'],
  ])('with prefixMode %s over %j, echo of one is %s', (mode, names, expected) => {
    expect(naming(mode, ...names).name('one', 'echo')).toBe(expected);
  });

  test('lead back to their target, whatever is in them', () => {
    const shared = naming('conditional', 'one', 'two-2');
    fc.assert(fc.property(fc.constantFrom('one', 'two-2'), fc.string(), (target, name) => {
      expect(shared.splitName(shared.name(target, name))).toEqual({ target, name });
    }));
  });

  test.each(['echo', 'three_echo', '_echo', '', 'One_echo'])('%j leads nowhere', (name) => {
    expect(naming('conditional', 'one', 'two').splitName(name)).toBeUndefined();
  });
});

describe('URIs of several targets', () => {
  const shared = naming('conditional', 'one', 'two');

  test.each([
    ['file:///a/b.txt', 'one+file:///a/b.txt'],
    ['test://template/{id}/data', 'one+test://template/{id}/data'],
    ['data+x:stuff+more', 'one+data+x:stuff+more'],
    ['ui://widget/page.html', 'ui://one+widget/page.html'],
    ['urn:isbn:1', 'one+urn:isbn:1'],
  ])('%s becomes %s and comes back', (uri, expected) => {
    expect(shared.uri('one', uri)).toBe(expected);
    expect(shared.splitUri(expected)).toEqual({ target: 'one', name: uri });
  });

  test('round trip whatever their path', () => {
    fc.assert(fc.property(fc.constantFrom('file:///', 'ui://', 'x+y://h/'), fc.string(), (scheme, path) => {
      expect(shared.splitUri(shared.uri('two', scheme + path))).toEqual({ target: 'two', name: scheme + path });
    }));
  });

  test.each(['file:///a', 'three+file:///a', 'ui://widget', 'ui://three+widget', ''])('%j leads nowhere', (uri) => {
    expect(shared.splitUri(uri)).toBeUndefined();
  });
});
