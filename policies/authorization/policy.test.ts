import { describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { NO_FACTS, pass } from '../policy.ts';
import type { Facts, PolicyCall, PolicyDeps, SourceTls } from '../policy.ts';
import { authorization } from './policy.ts';

const judged = (rules: unknown[], call: Partial<PolicyCall> = {}, facts: Facts = NO_FACTS, deps: Partial<PolicyDeps> = {}) =>
  authorization.compile(authorization.schema.parse({ rules }), depsWith(deps)).apply(callWith(call), facts);
const refused = (rule: unknown): string[] => (authorization.schema.safeParse({ rules: [rule] }).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);

const CERTIFICATE: SourceTls = { subject: 'CN=agent', issuer: 'CN=authority', subjectCn: 'agent', subjectAltNames: [], certificate: '', spiffeId: undefined, identity: undefined };

describe('rules of a request', () => {
  test('let everything pass when there are none', () => expect(judged([])).toBe(pass));

  test('deny with 403, and say which rule it was', () => {
    expect(judged(['true', { deny: 'request.method == "POST"' }])).toEqual({ kind: 'deny', status: 403, reason: 'authorization/deny', rule: 'rules[1]', message: 'authorization failed', responseHeaders: [] });
    expect(judged(['false'])).toEqual({ kind: 'deny', status: 403, reason: 'authorization/no-allow', message: 'authorization failed', responseHeaders: [] });
    expect(judged([{ require: 'false' }])).toMatchObject({ reason: 'authorization/require', rule: 'rules[0]' });
  });

  test('deny when a deny cannot be answered', () => expect(judged([{ deny: 'jwt.banned' }])).toMatchObject({ kind: 'deny', reason: 'authorization/deny-failed' }));

  test.each<[rule: string, call: Partial<PolicyCall>]>([
    ['request.method == "GET"', { method: 'GET' }],
    ['request.host == "gw.test"', {}],
    ['request.path == "/a"', { path: '/a' }],
    ['request.pathAndQuery == "/a?b=c"', { path: '/a', query: 'b=c' }],
    ['request.pathAndQuery == "/a"', { path: '/a' }],
    ['request.uri == "https://gw.test/a?b=c"', { scheme: 'https', path: '/a', query: 'b=c' }],
    ['request.scheme == "https" && request.version == "HTTP/2.0"', { scheme: 'https', version: 'HTTP/2.0' }],
    ['request.headers["X-Tenant"] == "blue"', { headers: { 'x-tenant': 'blue' } }],
    ['request.headers["authorization"].startsWith("Bearer ")', { headers: { authorization: 'Bearer x' } }],
    ['source.address == "10.1.2.3" && source.port == 5', { source: { address: '10.1.2.3', port: 5, tls: undefined } }],
    ['cidr("10.0.0.0/8").containsIP(source.address)', { source: { address: '10.1.2.3', port: 5, tls: undefined } }],
    ['source.subjectCn == "agent"', { source: { address: '::1', port: 5, tls: CERTIFICATE } }],
  ])('know %s', (rule, call) => expect(judged([rule], call)).toBe(pass));

  test('know what earlier policies found out', () => {
    const facts: Facts = { principal: 'ada', jwt: { sub: 'ada', groups: ['admin'] }, apiKey: { plan: 'gold' }, basicAuth: { username: 'ada' }, extauthz: { ok: true } };
    expect(judged([{ require: '"admin" in jwt.groups' }, { require: 'apiKey.plan == "gold"' }, { require: 'basicAuth.username == jwt.sub' }, { require: 'extauthz.ok' }], {}, facts)).toBe(pass);
  });

  test('know where they stand', () => {
    const surroundings = { env: { podName: 'p-1' }, proxy: { bind: '80', listener: { name: 'l' }, route: { name: 'r' } } };
    expect(judged([{ require: 'env.podName == "p-1"' }, { require: 'proxy.bind == "80" && proxy.listener.name == "l" && proxy.route.name == "r"' }], {}, NO_FACTS, { surroundings })).toBe(pass);
  });
});

describe('a rule is refused that asks for', () => {
  test.each<[what: string, rule: string, why: RegExp]>([
    ['the body', 'size(request.body) > 3', /request\.body cannot be used here: the body is read after this/],
    ['all of the request', 'size(request) > 3', /name the field of request/],
    ['an MCP tool', 'mcp.tool.name == "a"', /line 1, column 1 .*mcp/],
    ['the response', 'response.code == 200', /line 1, column 1 .*response/],
  ])('%s', (_what, rule, why) => expect(refused({ deny: rule })).toEqual([expect.stringMatching(why)]));
});
