import { describe, expect, test } from 'vitest';
import { compileDocument } from './compile.ts';
import { type McpHttpTarget, mcpBackends } from './generation.ts';
import { withheldFrom } from './secret-paths.ts';

const OIDC = { issuer: 'https://login.test', clientId: 'c', redirectURI: 'https://gw.test/mcp/cb' };
const TARGETS = [{ name: 'a', mcp: { host: 'h' } }];

/** In every place where the policy may stand. */
const documents = (clientSecret: string): object[] => {
  const oidc = { ...OIDC, clientSecret };
  const routes = [{ name: 'r', policies: { oidc }, backends: [{ mcp: { targets: TARGETS } }] }];
  return [
    { mcp: { policies: { oidc }, targets: TARGETS } },
    { gateways: { default: { port: 1, oidc } } },
    { gateways: { default: { port: 1, listeners: [{ name: 'l', oidc }] } } },
    { gateways: { default: { port: 1 } }, routes },
    { binds: [{ port: 1, listeners: [{ policies: { oidc }, routes }] }] },
  ];
};

const secretsIn = (document: object, services: readonly string[], env: Record<string, string> = {}): string[] => {
  const { generation, problems } = compileDocument(document, { env, withheld: withheldFrom(services) });
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  return [...new Set([...JSON.stringify(generation?.binds).matchAll(/"clientSecret":"([^"]*)"/g)].map(([, secret = '']) => secret))];
};

describe('the secret of a login', () => {
  test.each(documents('$UNSET'))('is not looked up by a process that asks no provider: %j', (document) => {
    for (const services of [['ingress'], ['connector', 'session'], ['ingress', 'connector']]) expect(secretsIn(document, services)).toEqual(['withheld']);
  });

  test.each(documents('$SET'))('is known to the policy service: %j', (document) => {
    expect(secretsIn(document, ['policy'], { SET: 'planted' })).toEqual(['planted']);
    expect(secretsIn(document, ['ingress', 'policy'], { SET: 'planted' })).toEqual(['planted']);
  });

  test.each(documents('in-clear'))('is warned of where it stands in the document: %j', (document) => {
    const { problems } = compileDocument(document, { env: {} });
    expect(problems.filter(({ path, severity }) => severity === 'warning' && path.endsWith('oidc.clientSecret')).length).toBeGreaterThan(0);
  });
});

test('a header for a target is known to those who send it, and looked up by nobody else', () => {
  const modifier = (value: string): object => ({ requestHeaderModifier: { set: { 'x-key': value } } });
  const sentBy = (services: readonly string[], document: object, env = {}): unknown => {
    const { generation, problems } = compileDocument(document, { env, withheld: withheldFrom(services) });
    return problems.length > 0 ? problems.map(({ path }) => path) : [...(generation === undefined ? [] : mcpBackends(generation).values())].flatMap(({ targets }) => targets.map((target) => (target as McpHttpTarget).headers));
  };
  const document = { mcp: { targets: [{ name: 'a', mcp: { host: 'h' }, policies: modifier('$KEY') }] } };
  for (const services of [['ingress'], ['session'], ['ingress', 'session']]) expect(sentBy(services, document)).toEqual([{ 'x-key': 'withheld' }]);
  expect(sentBy(['connector'], document, { KEY: 'planted' })).toEqual([{ 'x-key': 'planted' }]);
  expect(sentBy(['connector'], document)).toEqual(['mcp.targets[0].policies.requestHeaderModifier.set.x-key']);
  expect(sentBy(['ingress'], { mcp: { policies: modifier('$KEY'), targets: TARGETS } })).toEqual(['mcp.policies.requestHeaderModifier.set.x-key']);
});
