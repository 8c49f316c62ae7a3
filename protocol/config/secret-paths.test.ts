import { describe, expect, test } from 'vitest';
import { compileDocument } from './compile.ts';
import { type McpHttpTarget, mcpBackends } from './generation.ts';
import { pathText } from './problem.ts';
import { callerKeyPaths, sealedPaths, withheldFrom } from './secret-paths.ts';

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

  test.each(documents('in-clear'))('is sealed where it stands in the document: %j', (document) => {
    expect(sealedPaths(document).map((path) => path.at(-1))).toEqual(expect.arrayContaining(['clientSecret']));
  });
});

describe('what is sealed in a document', () => {
  const target = (more: object): object => ({ mcp: { targets: [{ name: 'a', ...more }] } });
  const auth = (backendAuth: object): object => target({ mcp: { host: 'h' }, policies: { backendAuth } });

  test.each<[object, string[]]>([
    [auth({ key: 'k' }), ['mcp.targets[0].policies.backendAuth.key']],
    [auth({ key: { value: 'k' } }), ['mcp.targets[0].policies.backendAuth.key.value']],
    [auth({ key: { file: '/k' } }), []],
    [auth({ key: 'Token $K' }), ['mcp.targets[0].policies.backendAuth.key']],
    [auth({ key: '${K:-k}' }), ['mcp.targets[0].policies.backendAuth.key']],
    [auth({ aws: { accessKeyId: 'a', secretAccessKey: 's', region: 'r' } }), ['mcp.targets[0].policies.backendAuth.aws.accessKeyId', 'mcp.targets[0].policies.backendAuth.aws.secretAccessKey']],
    [auth({ aws: { assumeRole: { tags: [{ key: 'k', value: '"v"' }] } } }), []],
    [auth({ oauthTokenExchange: { host: 'as', clientAuth: { clientId: 'c', clientSecret: 's' } } }), ['mcp.targets[0].policies.backendAuth.oauthTokenExchange.clientAuth.clientSecret']],
    [target({ stdio: { cmd: 'c', env: { A: 'a', B: '$B', C: '${C}' } } }), ['mcp.targets[0].stdio.env.A']],
    [target({ mcp: { host: 'h' }, policies: { requestHeaderModifier: { set: { Authorization: 'a', 'x-b': 'b' } } } }), ['Authorization', 'x-b'].map((name) => `mcp.targets[0].policies.requestHeaderModifier.set.${name}`)],
    [{ mcp: { policies: { mcpAuthentication: { clientSecret: 's' }, requestHeaderModifier: { set: { Authorization: 'a' } } } } }, ['mcp.policies.mcpAuthentication.clientSecret']],
    [{ config: { session: { key: 'ab'.repeat(32) } } }, ['config.session.key']],
    [{ config: { xdsAuthToken: 't', namespace: 'n', tracing: { otlpEndpoint: 'e', headers: { authorization: 'a' } }, database: { url: 'postgres://u:p@h' } } }, ['config.xdsAuthToken', 'config.tracing.headers.authorization', 'config.database.url']],
    [auth({ passthrough: { location: { header: { name: 'x-key', prefix: 'k' } } } }), []],
  ])('of %j is %j', (document, places) => {
    expect(sealedPaths(document).map(pathText)).toEqual(places);
  });

  test('are not the keys of callers, which ingress compares', () => {
    const document = { mcp: { policies: { apiKey: { keys: [{ key: 'k' }, { keyHash: 'h' }] } } } };
    expect([sealedPaths(document), callerKeyPaths(document).map(pathText)]).toEqual([[], ['mcp.policies.apiKey.keys[0].key']]);
  });
});

test('variables of processes are looked up where processes are started', () => {
  const document = { mcp: { targets: [{ name: 'a', stdio: { cmd: 'c', env: { A: '$UNSET' } } }] } };
  expect(compileDocument(document, { env: {}, withheld: withheldFrom(['ingress']) }).problems).toEqual([]);
  expect(compileDocument(document, { env: {}, withheld: withheldFrom(['connector']) }).problems).toMatchObject([{ severity: 'error', path: 'mcp.targets[0].stdio.env.A' }]);
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
  const named = { mcp: { targets: [{ name: 'a', mcp: { host: 'h' }, policies: { requestHeaderModifier: { set: { 'x-key': 'k' }, remove: ['x-other'] } } }] } };
  expect(sealedPaths(named).map(pathText)).toEqual(['mcp.targets[0].policies.requestHeaderModifier.set.x-key']);
  expect(sentBy(['ingress'], { mcp: { policies: modifier('$KEY'), targets: TARGETS } })).toEqual(['mcp.policies.requestHeaderModifier.set.x-key']);
});
