import picocolors from 'picocolors';
import { describe, expect, test } from 'vitest';
import type { Backend, Generation, McpTarget, Route } from '#protocol/config/generation.ts';
import { firstMcpUrl, startTable } from './start-table.ts';
import type { StartReport, TargetState } from './start-table.ts';

const plain = picocolors.createColors(false);

const stdio = (name: string): McpTarget => ({ kind: 'stdio', name, cmd: 'node', args: [], env: {}, clearEnv: false, timeoutMs: undefined });

const route = (changes: Partial<Route> = {}): Route => ({
  key: 'mcp',
  name: 'mcp',
  hostnames: [],
  matches: [{ path: { kind: 'exact', value: '/mcp' }, method: undefined, headers: [], query: [] }],
  policies: {},
  backends: [{ backend: 'mcp', weight: 1, policies: {} }],
  ...changes,
});

const generation = (routes: readonly Route[], targets: readonly McpTarget[] = [stdio('everything')]): Generation => ({
  id: '0123456789abcdef',
  binds: [{ port: 3000, listeners: [{ name: 'default', hostname: undefined, tls: undefined, policies: {}, routes }] }],
  backends: new Map([
    ['mcp', { kind: 'mcp', key: 'mcp', targets, statefulMode: 'stateful', prefixMode: 'conditional', failureMode: 'failClosed', dnsRebindingProtection: false, policies: {} }],
  ]),
  settings: { sessionTtlMs: 1, statsAddr: undefined, readinessAddr: undefined, logLevel: undefined, logFormat: undefined },
  warnings: [],
});

const ready: TargetState = { backend: 'mcp', target: 'everything', kind: 'stdio', state: 'ready', eras: ['legacy'], tools: 13 };

const report = (changes: Partial<StartReport> = {}): StartReport => ({
  version: '0.1.0',
  node: '24.21.0',
  services: ['policy', 'connector', 'session', 'ingress'],
  nats: { url: 'nats://127.0.0.1:40001', mode: 'embedded', version: '2.14.0' },
  generation: generation([route()]),
  bindAddresses: ['127.0.0.1', '::1'],
  statsUrl: 'http://127.0.0.1:15020',
  targets: [ready],
  ...changes,
});

describe('the table at the start', () => {
  test('shows listeners, routes, targets and where NATS is, without a colour', () => {
    expect(startTable(report(), plain)).toBe(
      [
        'parley 0.1.0  node 24.21.0  policy + connector + session + ingress',
        'nats   nats://127.0.0.1:40001  embedded nats-server 2.14.0',
        'stats  http://127.0.0.1:15020/metrics',
        'config 0123456789abcdef',
        '',
        'LISTENER               ROUTE  HOST  MATCH  BACKENDS',
        'http://localhost:3000  mcp    *     /mcp   mcp',
        '',
        'BACKEND  TARGET      KIND   STATE  TOOLS  ERAS',
        'mcp      everything  stdio  ready  13     legacy',
      ].join('\n'),
    );
  });

  test('says why a target failed, that one is still starting, and that nobody serves a third', () => {
    const text = startTable(
      report({
        generation: generation([route()], [stdio('a'), stdio('b'), stdio('c')]),
        targets: [
          { backend: 'mcp', target: 'a', kind: 'stdio', state: 'failed', eras: [], tools: null, error: 'exit code 1' },
          { backend: 'mcp', target: 'b', kind: 'stdio', state: 'starting', eras: [], tools: null },
        ],
      }),
      plain,
    );
    expect(text).toMatch(/mcp {6}a {7}stdio {2}failed: exit code 1 {2}- {6}-\n.* b .* starting .*\n.* c .* no connector /);
  });

  test('gives no URL for a listener that another process opens', () => {
    const text = startTable(report({ services: ['session'] }), plain);
    expect(text).toMatch(/^port 3000 {2}mcp /m);
    expect(text).not.toContain('http://localhost');
  });

  test('shows where tunnels are opened, and what they alone lead to', () => {
    const { binds, ...others } = generation([route()]);
    const listeners = binds[0]?.listeners ?? [];
    const tunnelling: Generation = { ...others, binds: [{ port: 3128, tunnels: true, listeners: [] }, { port: 443, internal: true, listeners }, { port: 0, internal: true, listeners }] };
    const text = startTable(report({ generation: tunnelling }), plain);
    expect(text).toMatch(/^http:\/\/localhost:3128 +- +\* +CONNECT +-$/m);
    expect(text).toMatch(/^in tunnels to port 443 +mcp /m);
    expect(text).toMatch(/^in tunnels to any other port +mcp /m);
    expect(firstMcpUrl(tunnelling, [])).toBeUndefined();
  });

  test('shows hosts of plain HTTP, to which no client of MCP is sent', () => {
    const host: Backend = { kind: 'http', key: 'mcp', name: 'api.test:8080', endpoints: [{ origin: 'http://api.test:8080' }], timeoutMs: undefined, policies: {} };
    const served: Generation = { ...generation([route()]), backends: new Map([['mcp', host]]) };
    const text = startTable(report({ generation: served, targets: [{ backend: 'mcp', target: 'api.test:8080', kind: 'http', state: 'ready', eras: [], tools: null }] }), plain);
    expect(text).toMatch(/^mcp +api\.test:8080 +http +ready +- +-$/m);
    expect(firstMcpUrl(served, [])).toBeUndefined();
  });

  test('says that there is no configuration yet', () => {
    expect(startTable(report({ generation: undefined }), plain)).toContain('config none yet: waiting for a policy service to publish one');
  });

  test('shows every kind of match and the weights of several backends', () => {
    const text = startTable(
      report({
        generation: generation([
          route({
            hostnames: ['a.example', '*.b.example'],
            matches: [
              { path: { kind: 'pathPrefix', value: '/a/' }, method: 'POST', headers: [{ name: 'x-team', exact: 'red' }], query: [{ name: 'q', regex: '^1' }] },
              { path: { kind: 'regex', value: '/b/.*' }, method: undefined, headers: [], query: [] },
            ],
            backends: [
              { backend: 'old', weight: 9, policies: {} },
              { backend: 'new', weight: 1, policies: {} },
            ],
          }),
        ]),
      }),
      plain,
    );
    expect(text).toContain('POST /a/* x-team: red ?q=~^1');
    expect(text).toContain('~/b/.*');
    expect(text).toMatch(/a\.example .*\bold ×9[^]*\*\.b\.example .*\bnew ×1/);
  });
});

describe('the URL to try first', () => {
  test('is the first path a client can be given', () => {
    const regexFirst = route({ matches: [{ path: { kind: 'regex', value: '/x' }, method: undefined, headers: [], query: [] }] });
    expect(firstMcpUrl(generation([regexFirst, route()]), [])).toBe('http://localhost:3000/mcp');
  });

  test('names this machine when only another address is bound', () => {
    expect(firstMcpUrl(generation([route()]), ['192.0.2.7'])).toBe('http://192.0.2.7:3000/mcp');
    expect(firstMcpUrl(generation([route()]), ['2001:db8::1'])).toBe('http://[2001:db8::1]:3000/mcp');
  });

  test('does not exist without a route', () => {
    expect(firstMcpUrl(generation([]), [])).toBeUndefined();
    expect(firstMcpUrl(undefined, [])).toBeUndefined();
  });
});
