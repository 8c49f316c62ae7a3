import { describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, type PolicyCall, type Rewrite, pass } from '../policy.ts';
import { requestHeaderModifier } from './policy.ts';

const compile = (config: object) => requestHeaderModifier.compile(requestHeaderModifier.schema.parse(config), depsWith());

function modified(config: object, headers: PolicyCall['headers'] = { 'x-a': '1', cookie: 'c=1' }): PolicyCall {
  const call = callWith({ headers });
  return call.with((compile(config).apply(call, NO_FACTS) as Rewrite).requestEdits ?? []);
}

test('adds, then sets, then removes, whatever the case of a name', () => {
  expect(modified({ add: { 'X-A': '2', 'x-b': '3' } }).headers).toEqual({ 'x-a': '1, 2', 'x-b': '3', cookie: 'c=1' });
  expect(modified({ add: { 'x-a': '2' }, set: { 'X-A': '3' } }).headers).toEqual({ 'x-a': '3', cookie: 'c=1' });
  expect(modified({ set: { 'x-b': '3', 'x-c': '4' }, remove: ['X-B', 'Cookie', 'x-none'] }).headers).toEqual({ 'x-a': '1', 'x-c': '4' });
});

test('a host that is set is the host of the request', () => {
  const { host, headers, written } = modified({ set: { Host: 'inner.test:8080' } });
  expect([host, headers['host'], written?.has(':authority')]).toEqual(['inner.test:8080', 'inner.test:8080', true]);
});

test('passes where nothing is asked for', () => {
  for (const config of [{}, { add: {}, set: null, remove: [] }]) expect(compile(config).apply(callWith(), NO_FACTS)).toBe(pass);
});

test.each(['route', 'backend'] as const)('is compiled in the %s phase', (phase) => expect(compileChain({ requestHeaderModifier: {} }, phase, depsWith()).empty).toBe(false));

describe('its configuration', () => {
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, '']));
  test.each<[string, object]>([
    ['an empty name', { set: { '': '1' } }],
    ['a name that is none', { set: { 'a b': '1' } }],
    ['a pseudo-header', { set: { ':path': '/' } }],
    ['a header of the connection', { add: { Connection: 'close' } }],
    ['where the message ends', { set: { 'content-length': '1' } }],
    ['how the message ends', { remove: ['Transfer-Encoding'] }],
    ['a second host', { add: { host: 'a.test' } }],
    ['no host', { remove: ['host'] }],
    ['a host that is none', { set: { host: 'a.test/x' } }],
    ['a value with a line break', { set: { 'x-a': 'a\r\nb: c' } }],
    ['a value no header can have', { set: { 'x-a': '→' } }],
    ['a value past the limit', { set: { 'x-a': 'a'.repeat(16_385) } }],
    ['a name past the limit', { set: { ['a'.repeat(129)]: '' } }],
    ['one header past the limit', { set: many(65) }],
    ['one removal past the limit', { remove: Object.keys(many(65)) }],
    ['a number', { set: { 'x-a': 1 } }],
    ['an unknown key', { append: {} }],
  ])('refuses %s', (_what, config) => expect(requestHeaderModifier.schema.safeParse(config).success).toBe(false));

  test.each<[string, object]>([
    ['as many headers as the limit', { add: many(64), set: many(64), remove: Object.keys(many(64)) }],
    ['a value as long as the limit', { set: { 'x-a': 'a'.repeat(16_384) } }],
    ['a name as long as the limit', { set: { ['a'.repeat(128)]: '' } }],
    ['a host with an address', { set: { host: '[::1]:80' } }],
  ])('takes %s', (_what, config) => expect(requestHeaderModifier.schema.safeParse(config).success).toBe(true));
});
