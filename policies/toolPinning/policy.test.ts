import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { type McpBackend, mcpBackends } from '#protocol/config/generation.ts';
import { depsWith } from '../../test/world/policy.ts';
import { compileChain, emptyChain } from '../chain.ts';
import { policySchemas } from '../order.ts';
import { toolPinning } from './policy.ts';

test('is no part of a chain: the connector judges it', () => {
  expect(toolPinning.judgedBy).toBe('connector');
  for (const phase of ['route', 'backend'] as const) expect(compileChain({ toolPinning: 'enforce' }, phase, depsWith())).toBe(emptyChain);
});

test.each(['on', 'Enforce', '', true, 1, {}, ['enforce']])('refuses %j, which is no mode', (mode) => {
  expect(toolPinning.schema.safeParse(mode).success).toBe(false);
  const { problems } = compileDocument({ mcp: { targets: [{ name: 't', mcp: { host: 'http://t.test' }, policies: { toolPinning: mode } }] } }, { env: {}, policies: policySchemas });
  expect(problems).toMatchObject([{ severity: 'error', path: 'mcp.targets[0].policies.toolPinning' }]);
});

const target = (name: string, toolPinning?: string) => ({ name, mcp: { host: `http://${name}.test/mcp` }, ...(toolPinning === undefined ? {} : { policies: { toolPinning } }) });
const stdio = (name: string, toolPinning?: string) => ({ name, stdio: { cmd: 'x' }, ...(toolPinning === undefined ? {} : { policies: { toolPinning } }) });

function backendsOf(document: object): readonly McpBackend[] {
  const { generation, problems } = compileDocument(document, { env: {}, policies: policySchemas });
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  return generation === undefined ? [] : [...mcpBackends(generation).values()];
}

describe('the mode of a target', () => {
  test('is none unless one is written', () => {
    expect(backendsOf({ mcp: { targets: [target('a'), target('b', 'off')] } })[0]?.pinning).toBeUndefined();
  });

  test('is the one written nearest to it, of processes too', () => {
    const [mcp] = backendsOf({ mcp: { policies: { toolPinning: 'warn' }, targets: [target('a'), target('b', 'enforce'), target('c', 'off'), stdio('d'), stdio('e', 'enforce')] } });
    expect(mcp?.pinning).toEqual({ a: 'warn', b: 'enforce', d: 'warn', e: 'enforce' });
  });

  test('of a backend holds on every route to it, unless a route says otherwise', () => {
    const routes = [
      { name: 'one', matches: [{ path: { exact: '/one' } }], backends: [{ backend: 'shared' }] },
      { name: 'two', matches: [{ path: { exact: '/two' } }], policies: { toolPinning: 'off' }, backends: [{ backend: 'shared' }] },
      { name: 'three', matches: [{ path: { exact: '/three' } }], policies: { toolPinning: 'off' }, backends: [{ backend: 'shared', policies: { toolPinning: 'warn' } }] },
      { name: 'four', matches: [{ path: { exact: '/four' } }], backends: [{ mcp: { targets: [target('a')] }, policies: { toolPinning: 'enforce' } }] },
    ];
    const backends = backendsOf({ gateways: { default: { port: 1 } }, routes, backends: [{ name: 'shared', policies: { toolPinning: 'enforce' }, mcp: { targets: [target('a')] } }] });
    expect(backends.map(({ variantOf, pinning }) => [variantOf, pinning])).toEqual([
      [undefined, { a: 'enforce' }],
      ['shared', undefined],
      ['shared', { a: 'warn' }],
      [undefined, { a: 'enforce' }],
    ]);
  });

  test('is refused at a plain host, which has no tools', () => {
    const { problems } = compileDocument({ backends: [{ name: 'h', host: 'h.test', policies: { toolPinning: 'enforce' } }] }, { env: {}, policies: policySchemas });
    expect(problems).toContainEqual(expect.objectContaining({ severity: 'error', path: 'backends[0].policies.toolPinning' }));
  });
});
