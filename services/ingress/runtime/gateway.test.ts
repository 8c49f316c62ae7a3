import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { composeChain } from '#policies/chain.ts';
import { type CompiledPolicy, type Facts, type Judging, deny, learned, pass } from '#policies/policy.ts';
import type { Generation, Route } from '#protocol/config/generation.ts';
import { depsWith } from '../../../test/world/policy.ts';
import type { IngressEvents } from '../events.ts';
import type { IngressDeps } from './exchange.ts';
import { Gateway } from './gateway.ts';
import { createHttpServer } from './edge/http-edge.ts';
import { type World, buildWorld } from './world.ts';

const ROUTE: Route = { key: 'r', name: 'r', hostnames: [], policies: {}, backends: [], matches: [{ path: { kind: 'pathPrefix', value: '/mcp' }, method: undefined, headers: [], query: [] }] };
const GENERATION: Generation = {
  id: 'g', warnings: [], backends: new Map(), binds: [{ port: 80, listeners: [{ name: 'l', hostname: undefined, tls: undefined, policies: {}, routes: [ROUTE] }, { name: 'other', hostname: 'other.test', tls: undefined, policies: {}, routes: [] }] }],
  settings: { sessionTtlMs: 1, statsAddr: undefined, readinessAddr: undefined, logLevel: undefined, logFormat: undefined },
};

/** The world of one route, judged by these policies. */
function worldOf(gateway: readonly CompiledPolicy[], route: readonly CompiledPolicy[]): World {
  const world = buildWorld(GENERATION, depsWith());
  const bind = world.binds.get(80);
  if (bind === undefined) throw new Error('the bind is missing');
  const judged = { ...bind, gatewayChain: () => composeChain(gateway), routeWorld: (of: Route) => ({ ...bind.routeWorld(of), chain: composeChain(route) }) };
  return { ...world, binds: new Map([[80, judged]]) };
}

let server: Server | undefined;
let told: unknown[];
beforeEach(() => {
  told = [];
});
afterEach(() => {
  server?.close();
  server?.closeAllConnections();
});

/** What a request to the route is answered; MCP would answer a PUT that the policies let through with 405. */
async function put(gateway: readonly CompiledPolicy[], route: readonly CompiledPolicy[] = [], init: RequestInit = {}): Promise<Response> {
  const events: Partial<IngressEvents> = {
    answered: () => undefined,
    denied: ({ principal }, { reason }) => told.push(`${principal} ${reason}`),
    failed: (what) => told.push(what),
  };
  const gate = new Gateway({ events } as IngressDeps);
  gate.enter(worldOf(gateway, route));
  server = createHttpServer((request, response) => gate.handle({ port: 80, loopback: false, secure: false }, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, { method: 'PUT', redirect: 'manual', ...init });
}

const policy = (apply: (facts: Facts) => Judging): CompiledPolicy => ({ apply: (_call, facts) => apply(facts) });
const late = (apply: (facts: Facts) => Judging): CompiledPolicy => policy(async (facts) => apply(facts));
const refuses = (facts: Facts): Judging => deny(401, 'x/no', `no, ${facts.principal ?? 'stranger'}`);

describe('policies that change responses', () => {
  const marks = (value: string, apply: (facts: Facts) => Judging = () => pass): CompiledPolicy => ({ ...policy(apply), applyResponse: (_head, _call, { principal }) => [{ kind: 'append', header: 'x-by', value: `${value} of ${principal}` }] });

  test('change what MCP answers, the route before the gateway, and know what was found out', async () => {
    const response = await put([marks('gateway', () => learned({ principal: 'ada' }))], [marks('route')]);
    expect([response.status, response.headers.get('x-by')]).toEqual([405, 'route of ada, gateway of ada']);
  });

  test('change a denial, and what no route is found for', async () => {
    const denied = await put([marks('gateway')], [policy(() => learned({ principal: 'ada' })), policy(refuses), marks('route')]);
    expect([denied.status, denied.headers.get('x-by'), told]).toEqual([401, 'route of ada, gateway of ada', ['ada x/no']]);
    const lost = await put([marks('gateway', () => ({ kind: 'rewrite', responseHeaders: [], requestEdits: [{ kind: 'setPath', path: '/lost' }] }))]);
    expect([lost.status, lost.headers.get('x-by')]).toEqual([404, 'gateway of undefined']);
  });

  test('change an answer of another policy, with its headers', async () => {
    const answers = policy(() => ({ kind: 'answer', status: 302, headers: [['set-cookie', 'a=1']], head: [['location', '/a'], ['set-cookie', 'b=2']] }));
    const moves: CompiledPolicy = { apply: () => pass, applyResponse: ({ headers }) => [{ kind: 'set', header: 'location', value: `${headers['location']}/b` }] };
    const response = await put([], [answers, moves]);
    expect([response.status, response.headers.get('location'), response.headers.getSetCookie()]).toEqual([302, '/a/b', ['a=1', 'b=2']]);
  });
});

test('what policies make of Host and Origin changes nothing about whether a page may ask', async () => {
  const edits = policy(() => ({ kind: 'rewrite', responseHeaders: [], requestEdits: [{ kind: 'remove', header: 'origin' }] }));
  expect((await put([], [edits], { headers: { origin: 'https://evil.test' } })).status).toBe(403);
});

test('a host that policies write leads to no other listener', async () => {
  const edits = policy(() => ({ kind: 'rewrite', responseHeaders: [], requestEdits: [{ kind: 'setAuthority', authority: 'other.test' }] }));
  expect((await put([edits])).status).toBe(405);
});

describe.each([
  ['at once', policy],
  ['after a while', late],
])('policies that decide %s', (_when, made) => {
  test('let a request through to its route', async () => {
    expect((await put([made(() => pass)], [made(() => pass)])).status).toBe(405);
  });

  test('end it with their no, which is told with who asked', async () => {
    const response = await put([made(() => learned({ principal: 'ada' }))], [made(refuses)]);
    expect([response.status, response.headers.get('content-type'), await response.text(), told]).toEqual([401, 'text/plain', 'no, ada', ['ada x/no']]);
  });

  test('end it with content of their own', async () => {
    const response = await put([made(() => ({ kind: 'answer', status: 200, headers: [['x-a', '1']], content: { type: 'application/json', text: '{}' } }))]);
    expect([response.status, response.headers.get('content-type'), response.headers.get('x-a'), await response.text()]).toEqual([200, 'application/json', '1', '{}']);
  });

  test('that break let nobody through', async () => {
    const broken = made(() => {
      throw new Error('broken');
    });
    const response = await put([broken], [made(() => pass)]);
    expect([response.status, told]).toEqual([500, ['a request could not be judged']]);
    expect(await response.text()).not.toContain('broken');
  });
});
