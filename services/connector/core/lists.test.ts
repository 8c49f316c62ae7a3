import { describe, expect, test } from 'vitest';
import { Naming } from '#protocol/mcp/naming.ts';
import { LISTS, capabilityOf, isList } from './lists.ts';

const naming = new Naming({ prefixMode: 'conditional', targets: ['one', 'two'].map((name) => ({ kind: 'mcp' as const, name, url: 'http://x/mcp', timeoutMs: undefined })) });
const renamed = (method: string, item: object): object | undefined => LISTS[method]?.rename(item as Record<string, unknown>, 'one', naming);

describe('an item of a list', () => {
  test.each([
    ['tools/list', { name: 'echo', title: 'Echo', unknown: 1 }, { name: 'one_echo', title: 'Echo', unknown: 1 }],
    ['prompts/list', { name: 'greet' }, { name: 'one_greet' }],
    ['resources/list', { uri: 'file:///a', name: 'a' }, { uri: 'one+file:///a', name: 'a' }],
    ['resources/templates/list', { uriTemplate: 'file:///{x}', name: 't' }, { uriTemplate: 'one+file:///{x}', name: 't' }],
  ])('of %s carries its target and keeps the rest', (method, item, expected) => {
    expect(renamed(method, item)).toEqual(expected);
  });

  test('that is a tool with a page points at the page of its target, in either place', () => {
    const tool = { name: 'chart', _meta: { ui: { resourceUri: 'ui://chart', more: 1 }, 'ui/resourceUri': 'ui://chart', other: true } };
    expect(renamed('tools/list', tool)).toEqual({
      name: 'one_chart',
      _meta: { ui: { resourceUri: 'ui://one+chart', more: 1 }, 'ui/resourceUri': 'ui://one+chart', other: true },
    });
  });
});

test.each([
  ['tools/list', true, 'tools'],
  ['prompts/list', true, 'prompts'],
  ['resources/list', true, 'resources'],
  ['resources/templates/list', true, 'resources'],
  ['roots/list', false, 'roots'],
  ['constructor', false, ''],
])('%s is a list: %s', (method, list, capability) => {
  expect(isList(method)).toBe(list);
  if (list) expect(capabilityOf(method)).toBe(capability);
});
