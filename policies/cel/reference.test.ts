/** What the reference lists for expressions, line by line: each of its names is there, or refused by name with a reason. */
import { describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { requestVariables } from '../rules/request-variables.ts';
import { compileExpression } from './expression.ts';

const deps = { random: () => 0.5 };

const problemOf = (source: string): string | undefined => {
  const result = compileExpression(source, { deps });
  return result.ok ? undefined : result.problem.message;
};

const CALLS = [
  'json("1")', 'toJson(1)', 'unvalidatedJwtPayload("a.b.c")', '1.with(x, x)', 'variables()', '{}.mapValues(v, v)', '{}.filterKeys(k, true)', '{}.removeKeys(k, true)', '{}.merge({})',
  'flatten({})', 'flattenRecursive({})', 'base64.encode("a")', 'base64.decode("YQ==")', 'url.encode("a")', 'url.decode("a")', 'form.encode({})', 'form.decode("a=b")', 'sha1.encode("a")',
  'sha256.encode("a")', 'md5.encode("a")', 'random()', 'default(1, 2)', 'coalesce(1, 2)', '"a".regexReplace("a", "b")', 'fail()', 'fail("a")', 'uuid()',
  '"a".contains("a")', 'size("a")', '"a".size()', 'has(jwt.a)', '[1].map(x, x)', '[1].filter(x, true)', '[1].all(x, true)', 'max(1, 2)', '"a".startsWith("a")', '"a".endsWith("a")', 'string(1)', 'bytes("a")',
  'double(1)', '[1].exists(x, true)', '[1].exists_one(x, true)', 'int("1")', 'uint(1)', '"a".matches("a")',
  'duration("1s")', 'timestamp("2026-01-01T00:00:00Z")',
  ...['getFullYear', 'getMonth', 'getDayOfYear', 'getDayOfMonth', 'getDate', 'getDayOfWeek', 'getHours', 'getMinutes', 'getSeconds', 'getMilliseconds'].map((name) => `timestamp("2026-01-01T00:00:00Z").${name}()`),
  '"a".charAt(0)', '"a".indexOf("a")', '["a"].join("-")', '"a".lastIndexOf("a")', '"A".lowerAscii()', '"a".upperAscii()', '" a ".trim()', '"a".replace("a", "b")', '"a,b".split(",")', '"ab".substring(1)',
  '"a".stripPrefix("a")', '"a".stripSuffix("a")',
  ...['ceil', 'floor', 'round', 'trunc', 'isInf', 'isNaN', 'isFinite', 'abs', 'sign', 'sqrt'].map((name) => `math.${name}(1.5)`),
  'math.least(1, 2)', 'math.greatest(1, 2)', ...['bitAnd', 'bitOr', 'bitXor', 'bitShiftLeft', 'bitShiftRight'].map((name) => `math.${name}(1, 2)`), 'math.bitNot(1)',
  'isIP("a")', ...['family', 'isUnspecified', 'isLoopback', 'isLinkLocalMulticast', 'isLinkLocalUnicast', 'isGlobalUnicast'].map((name) => `ip("127.0.0.1").${name}()`),
  'cidr("10.0.0.0/8").containsIP("10.0.0.1")', 'cidr("10.0.0.0/8").containsIP(ip("10.0.0.1"))', 'cidr("10.0.0.0/8").containsCIDR(cidr("10.0.0.0/9"))', ...['ip', 'masked', 'prefixLength'].map((name) => `cidr("10.0.0.0/8").${name}()`),
  ...['redacted()', 'join()', 'raw()', 'split()', 'cookie("a")'].flatMap((view) => [`request.headers.${view}`, `source.connectHeaders.${view}`]),
  'request.uri.query("a")', 'request.pathAndQuery.addQuery("a", "b")', 'request.uri.setQuery("a", "b")', 'jwt.rawToken.unredacted()', 'apiKey.key.unredacted()',
];

test.each(CALLS)('%s is an expression', (source) => expect(problemOf(source)).toBeUndefined());

test('what is no failure of its own has a value', () => {
  const failing = CALLS.filter((source) => {
    const result = compileExpression(source, { deps });
    return result.ok && !result.expression.evaluate({}).ok;
  });
  expect(failing.filter((source) => !/jwt|apiKey|request|source|fail\(|unvalidatedJwtPayload/.test(source))).toEqual([]);
});

/** As the reference has them. */
const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  request: ['method', 'uri', 'host', 'scheme', 'path', 'pathAndQuery', 'version', 'headers', 'body', 'bodyPrefix', 'startTime', 'endTime'],
  proxy: ['bind', 'gateway', 'gateway.namespace', 'gateway.name', 'listener', 'listener.name', 'route', 'route.namespace', 'route.name', 'route.kind', 'route.rule', 'requestProcessingDuration', 'upstreamDuration', 'responseProcessingDuration'],
  env: ['podName', 'namespace', 'gateway'],
  jwt: ['rawToken', 'sub'],
  apiKey: ['key', 'team'],
  basicAuth: ['username'],
  source: ['address', 'port', 'rawAddress', 'rawPort', 'identity', 'identity.trustDomain', 'identity.namespace', 'identity.serviceAccount', 'spiffeId', 'subjectAltNames', 'issuer', 'subject', 'subjectCn', 'certificate', 'unverifiedWorkload', 'unverifiedWorkload.name', 'connectHeaders'],
  destination: ['address', 'port', 'hostname'],
  mcp: ['methodName', 'sessionId', 'tool', 'tool.target', 'tool.name', 'tool.arguments', 'tool.result', 'tool.error', 'prompt', 'prompt.target', 'prompt.name', 'resource', 'resource.target', 'resource.name', 'task', 'task.target', 'task.name'],
  backend: ['name', 'type', 'protocol'],
  extauthz: ['anything'],
  metadata: ['anything'],
};

const REFUSED: Readonly<Record<string, string>> = {
  'request.bodyPrefix': 'a body is there whole or not at all',
  'request.endTime': 'it is known when a call is over',
  'proxy.requestProcessingDuration': 'it is known when a call is over',
  'proxy.upstreamDuration': 'it is known when a call is over',
  'proxy.responseProcessingDuration': 'it is known when a call is over',
  'source.unverifiedWorkload': 'Parley knows no workloads',
  'source.unverifiedWorkload.name': 'Parley knows no workloads',
  'mcp.tool.result': 'it is known when a call is over',
  'mcp.tool.error': 'it is known when a call is over',
};

describe.each(Object.entries(VARIABLES))('of %s', (variable, fields) => {
  test.each(fields)('%s is known, or refused with a reason', (field) => {
    const path = `${variable}.${field}`;
    const reason = REFUSED[path];
    expect(problemOf(path)).toEqual(reason === undefined ? undefined : expect.stringContaining(`is not available: ${reason}`));
  });
});

test.each(['llm.provider', 'llmRequest', 'extproc.x', 'mcpGuardrails.x'])('%s is refused with a reason', (path) => {
  expect(problemOf(path)).toContain('is not available: Parley ');
});

describe('what ingress knows of a request', () => {
  const tls = { subject: 'CN=a', issuer: 'CN=ca', subjectCn: 'a', subjectAltNames: ['a.test'], certificate: 'PEM', spiffeId: 'spiffe://t/ns/n/sa/s', identity: { trustDomain: 't', namespace: 'n', serviceAccount: 's' } };
  const call = callWith({ query: 'a=1', source: { address: '10.0.0.1', port: 5, tls }, destination: { address: '10.0.0.2', port: 443 }, startedAtMs: 1_700_000_000_000, headers: { 'x-a': '1' } });
  const surroundings = { env: { podName: 'p', namespace: 'n', gateway: 'g' }, proxy: { bind: '443', gateway: { name: 'gw' }, listener: { name: 'gw/l' }, route: { name: 'r' } } };
  const facts = { jwt: { sub: 'x' }, apiKey: { team: 'core' }, basicAuth: { username: 'ada' }, extauthz: { tier: 1 } };
  const activation = requestVariables(call, facts, depsWith({ surroundings }));

  test.each<[string, unknown]>([
    ['request.method', 'POST'],
    ['request.uri', 'http://gw.test/mcp?a=1'],
    ['request.host', 'gw.test'],
    ['request.scheme', 'http'],
    ['request.path', '/mcp'],
    ['request.pathAndQuery', '/mcp?a=1'],
    ['request.version', 'HTTP/1.1'],
    ['request.headers', { 'x-a': '1' }],
    ['request.startTime', new Date(1_700_000_000_000)],
    ['request.startTime < timestamp("2026-01-01T00:00:00Z")', true],
    ['source.address + ":" + string(source.port)', '10.0.0.1:5'],
    ['source.rawAddress + ":" + string(source.rawPort)', '10.0.0.1:5'],
    ['source.identity.trustDomain + source.identity.namespace + source.identity.serviceAccount', 'tns'],
    ['source.spiffeId', 'spiffe://t/ns/n/sa/s'],
    ['source.subjectAltNames', ['a.test']],
    ['[source.issuer, source.subject, source.subjectCn, source.certificate]', ['CN=ca', 'CN=a', 'a', 'PEM']],
    ['source.connectHeaders', {}],
    ['"x" in source.connectHeaders', false],
    ['destination', { address: '10.0.0.2', port: 443 }],
    ['[jwt.sub, apiKey.team, basicAuth.username, extauthz.tier]', ['x', 'core', 'ada', 1]],
    ['[env.podName, env.namespace, env.gateway]', ['p', 'n', 'g']],
    ['proxy', { bind: '443', gateway: { name: 'gw' }, listener: { name: 'gw/l' }, route: { name: 'r' } }],
    ['variables().size()', 9],
  ])('%s', (source, expected) => {
    const result = compileExpression(source, { deps });
    if (!result.ok) throw new Error(result.problem.message);
    expect(result.expression.evaluate(activation)).toEqual({ ok: true, value: expected });
  });
});
