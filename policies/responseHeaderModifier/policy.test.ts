import { describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, pass } from '../policy.ts';
import { type ResponseHead, editResponse } from '../response-edits.ts';
import { responseHeaderModifier } from './policy.ts';

const compile = (config: object) => responseHeaderModifier.compile(responseHeaderModifier.schema.parse(config), depsWith());
const HEAD: ResponseHead = { status: 200, headers: { 'x-a': '1', 'set-cookie': 'c=1' } };

const modified = (config: object) => editResponse(HEAD, compile(config).applyResponse?.(HEAD, callWith(), NO_FACTS) ?? []);

test('adds, then sets, then removes, whatever the case of a name', () => {
  expect(modified({ add: { 'X-A': '2', 'Set-Cookie': 'd=2' } }).headers).toEqual({ 'x-a': ['1', '2'], 'set-cookie': ['c=1', 'd=2'] });
  expect(modified({ add: { 'x-a': '2' }, set: { 'X-A': '3' }, remove: ['set-cookie', 'x-none'] })).toEqual({ status: 200, headers: { 'x-a': '3' } });
});

test('lets every call through', () => {
  expect(compile({ set: { 'x-a': '1' } }).apply(callWith(), NO_FACTS)).toBe(pass);
});

test.each(['route', 'backend'] as const)('changes responses in the %s phase, where anything is asked for', (phase) => {
  const chain = (config: object) => compileChain({ responseHeaderModifier: config }, phase, depsWith());
  expect(chain({ set: { 'x-a': '1' } }).responding).toHaveLength(1);
  expect(chain({ set: {}, remove: [] }).responding).toBeUndefined();
});

describe('its configuration', () => {
  test.each<[string, object]>([
    ['a header of the connection', { add: { Connection: 'close' } }],
    ['where the message ends', { set: { 'content-length': '1' } }],
    ['how the message ends', { remove: ['Transfer-Encoding'] }],
    ['a host', { set: { host: 'a.test' } }],
    ['a status', { set: { ':status': '200' } }],
    ['a value with a line break', { set: { 'x-a': 'a\r\nb: c' } }],
    ['an unknown key', { append: {} }],
  ])('refuses %s', (_what, config) => expect(responseHeaderModifier.schema.safeParse(config).success).toBe(false));
});
