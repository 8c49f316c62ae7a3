import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import type { Callout } from '#protocol/config/callout.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import type { AuthorizerTarget, Authorizers, CheckOutcome, HttpAnswer, HttpQuestion } from '../authorizer/authorizer.ts';
import type { CheckRequest, CheckResponse } from '../authorizer/check.ts';
import { compileChain } from '../chain.ts';
import { policySchemas } from '../order.ts';
import { type BodyPrefix, type Facts, NO_FACTS, type PolicyCall, type Verdict, deny, pass } from '../policy.ts';
import { extAuthz } from './policy.ts';

const HOST = { host: 'judge.test:9000' };
const YES: CheckResponse = { status: { code: 0 }, dynamic_metadata: null };
const NO: CheckResponse = { status: { code: 7 }, dynamic_metadata: null };
const ANSWER: HttpAnswer = { status: 200, headers: {}, body: new Uint8Array() };

interface Judge {
  readonly asked: (CheckRequest | HttpQuestion)[];
  readonly targets: AuthorizerTarget[];
  readonly counted: CheckOutcome[];
  readonly authorizers: Authorizers;
}

/** Both kinds at once; `answer` may throw what a wire throws. */
function judge(answer: (asked: CheckRequest | HttpQuestion) => CheckResponse | HttpAnswer): Judge {
  const [asked, targets, counted]: [Judge['asked'], AuthorizerTarget[], CheckOutcome[]] = [[], [], []];
  const ask = async (question: CheckRequest | HttpQuestion): Promise<never> => {
    asked.push(question);
    return answer(question) as never;
  };
  const authorizers: Authorizers = {
    grpc: (target) => (targets.push(target), { check: ask }),
    http: (target) => (targets.push(target), { send: ask }),
    counted: (_url, outcome) => void counted.push(outcome),
  };
  return { asked, targets, counted, authorizers };
}

function compile(config: object, answer: Parameters<typeof judge>[0] = () => YES, now = () => 0) {
  const judged = judge(answer);
  const compiled = extAuthz.compile(extAuthz.schema.parse(config), depsWith({ authorizers: judged.authorizers, now }));
  return { ...judged, apply: async (call: Partial<PolicyCall> = {}, facts: Facts = NO_FACTS): Promise<Verdict> => compiled.apply(callWith(call), facts) };
}

const bodied = (text: string): Partial<PolicyCall> => ({
  prefix: async (max: number): Promise<BodyPrefix> => ({ bytes: new TextEncoder().encode(text).subarray(0, max), complete: text.length <= max }),
});

describe('its configuration', () => {
  test('is a host, asked by gRPC within two seconds', () => {
    const targetOf = (config: object) => compile(config).targets[0];
    expect(targetOf(HOST)).toMatchObject({ callout: { name: 'judge.test:9000', endpoints: [{ origin: 'http://judge.test:9000', weight: 1 }], reaching: {}, key: undefined }, timeoutMs: 2_000 });
    expect(targetOf({ host: 'judge.test', policies: { backendTLS: {}, http: { requestTimeout: '1s' } } })).toMatchObject({ callout: { endpoints: [{ origin: 'https://judge.test' }], reaching: { tls: { verify: 'all' } } }, timeoutMs: 1_000 });
    expect(targetOf({ host: 'https://judge.test:1' })?.callout.endpoints[0].origin).toBe('https://judge.test:1');
  });

  test.each<[string, object]>([
    ['no server', {}],
    ['two servers', { ...HOST, backend: 'b' }],
    ['a service without a namespace', { service: { name: 'n', port: 1 } }],
    ['what stands for a server once a document is compiled', { callout: { name: 'judge.test', endpoints: [{ origin: 'http://judge.test', weight: 1 }], reaching: {} } }],
    ['a host with a path', { host: 'http://judge.test/check' }],
    ['a host with a password', { host: 'http://u:p@judge.test' }],
    ['another scheme', { host: 'ftp://judge.test' }],
    ['http beside backendTLS', { host: 'http://judge.test', policies: { backendTLS: {} } }],
    ['alpn for gRPC', { ...HOST, policies: { backendTLS: { alpn: ['h2', 'http/1.1'] } } }],
    ['the token of a caller', { ...HOST, policies: { backendAuth: { passthrough: {} } } }],
    ['a credential in the query of gRPC', { ...HOST, policies: { backendAuth: { key: { value: 'k', location: { queryParameter: { name: 'k' } } } } } }],
    ['the signature of AWS for gRPC', { ...HOST, policies: { backendAuth: { aws: {} } } }],
    ['HTTP/1.1 for gRPC', { ...HOST, policies: { http: { version: 'HTTP/1.1' } } }],
    ['a header of the connection that is set', { ...HOST, policies: { requestHeaderModifier: { set: { host: 'x' } } } }],
    ['a tunnel in a tunnel', { ...HOST, policies: { backendTunnel: { proxy: { host: 'p:1' }, policies: { backendTunnel: { proxy: { host: 'p:2' } } } } } }],
    ['a proxy that is told who asks in its query', { ...HOST, policies: { backendTunnel: { proxy: { host: 'p:1' }, policies: { backendAuth: { key: { value: 'k', location: { queryParameter: { name: 'k' } } } } } } } }],
    ['transformations', { ...HOST, policies: { transformations: {} } }],
    ['no time', { ...HOST, policies: { http: { requestTimeout: '0s' } } }],
    ['too much time', { ...HOST, policies: { http: { requestTimeout: '61s' } } }],
    ['two protocols', { ...HOST, protocol: { grpc: {}, http: {} } }],
    ['no protocol', { ...HOST, protocol: {} }],
    ['another failureMode', { ...HOST, failureMode: 'open' }],
    ['a status of success', { ...HOST, failureMode: { denyWithStatus: 200 } }],
    ['an expression that is none', { ...HOST, protocol: { http: { path: '"/a" +' } } }],
    ['an unknown variable', { ...HOST, protocol: { http: { path: 'nobody.path' } } }],
    ['a response before there is one', { ...HOST, protocol: { http: { path: 'response.body' } } }],
    ['all of the request', { ...HOST, cache: { key: ['request'], ttl: '1m' } }],
    ['a header of the connection', { ...HOST, includeRequestHeaders: ['content-length'] }],
    ['a header that is none', { ...HOST, includeRequestHeaders: ['a b'] }],
    ['an unknown pseudo-header', { ...HOST, includeRequestHeaders: [':status'] }],
    ['a pseudo-header of an answer', { ...HOST, protocol: { http: { includeResponseHeaders: [':path'] } } }],
    ['no bytes of a body', { ...HOST, includeRequestBody: { maxRequestBytes: 0 } }],
    ['too many bytes of a body', { ...HOST, includeRequestBody: { maxRequestBytes: 8 * 1024 * 1024 + 1 } }],
    ['a cache without a time', { ...HOST, cache: { key: [] } }],
    ['a cache with a time that is none', { ...HOST, cache: { key: [], ttl: '5 minutes' } }],
    ['a cache past the limit', { ...HOST, cache: { key: [], ttl: '5m', maxEntries: 1_000_001 } }],
    ['conditional without entries', { conditional: [] }],
    ['conditional past the limit', { conditional: Array.from({ length: 65 }, () => ({ condition: 'true', ...HOST })) }],
    ['conditional beside a host', { ...HOST, conditional: [HOST] }],
    ['an entry without a condition that is not the last', { conditional: [HOST, { condition: 'true', ...HOST }] }],
    ['an unknown key', { ...HOST, failMode: 'deny' }],
  ])('refuses %s', (_, config) => expect(extAuthz.schema.safeParse(config).success).toBe(false));

  test.each<[string, object]>([
    ['the longest body', { ...HOST, includeRequestBody: { maxRequestBytes: 8 * 1024 * 1024 } }],
    ['the largest cache', { ...HOST, cache: { key: [], ttl: 'timestamp("2030-01-01T00:00:00Z")', maxEntries: 1_000_000 } }],
    ['as many entries as the limit', { conditional: [...Array.from({ length: 63 }, () => ({ condition: 'true', ...HOST })), HOST] }],
    ['the longest time, and a time to connect', { ...HOST, policies: { http: { requestTimeout: '60s' }, tcp: { connectTimeout: '60s', keepalives: { enabled: true, time: '1m' } } } }],
    ['a service', { service: { name: 'ns/judge.test', port: 1 } }],
    ['credentials in a header, headers and a proxy', { ...HOST, policies: { backendAuth: { key: 'k' }, requestHeaderModifier: { add: { 'X-A': '1' }, remove: ['x-b'] }, backendTunnel: { proxy: { host: 'p:1' } } } }],
    ['alpn by HTTP', { ...HOST, protocol: { http: {} }, policies: { backendTLS: { alpn: ['http/1.1'] } } }],
  ])('takes %s', (_, config) => expect(extAuthz.schema.safeParse(config).success).toBe(true));

  const documentOf = (policy: object, backends: object[], gateway = {}) => ({ backends, gateways: { default: { port: 0, ...gateway } }, routes: [{ policies: { extAuthz: policy }, backends: [{ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x' } }] } }] }] });
  const load = (document: object) => compileDocument(document, { env: {}, policies: policySchemas });

  const calloutOf = (policy: object, backends: object[], more: object = {}): Callout | undefined => {
    const { generation, problems } = load({ ...documentOf(policy, backends), ...more });
    expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
    const compiled = generation?.binds[0]?.listeners[0]?.routes[0]?.policies['extAuthz'] as { readonly callout?: Callout; readonly conditional?: readonly { readonly callout: Callout }[] };
    return compiled.callout ?? compiled.conditional?.[0]?.callout;
  };

  test('names a backend, whose host and policies count, unless its own do', () => {
    const backends = [{ name: 'judge', host: 'judge.test', policies: { backendTLS: { hostname: 'inner.test' }, backendAuth: { key: '${NONE:-k}' } } }];
    const inherited = calloutOf({ backend: 'judge', failureMode: 'allow' }, backends);
    expect(inherited).toMatchObject({ name: 'judge.test', endpoints: [{ origin: 'https://judge.test' }], reaching: { tls: { hostname: 'inner.test' }, auth: { keys: [{ location: { name: 'authorization' } }] } }, key: expect.any(String) });
    const own = calloutOf({ conditional: [{ backend: 'judge', policies: { backendTLS: { insecure: true } } }] }, backends);
    expect(own).toMatchObject({ reaching: { tls: { hostname: undefined, verify: 'nothing' }, auth: {} } });
    expect(own?.key).not.toBe(inherited?.key);
  });

  test('may be at a socket of the machine, and then no proxy is asked', () => {
    const host = 'unix:///run/judge.sock';
    expect(calloutOf({ host }, [])).toMatchObject({ name: 'unix:/run/judge.sock', endpoints: [{ origin: 'http://localhost', socketPath: '/run/judge.sock' }] });
    expect(calloutOf({ backend: 'judge' }, [{ name: 'judge', host }])).toMatchObject({ endpoints: [{ socketPath: '/run/judge.sock' }] });
    const { problems } = load(documentOf({ host, policies: { backendTunnel: { proxy: { host: 'p:1' } } } }, []));
    expect(problems.find(({ path }) => path === 'routes[0].policies.extAuthz.policies.backendTunnel')?.message).toBe('a proxy cannot connect us to a socket of this machine');
  });

  test('names a service, which is its workloads', () => {
    const services = [{ name: 'judge', namespace: 'ns', hostname: 'judge.test', ports: { 80: 8080 } }];
    const workloads = [{ namespace: 'ns', workloadIps: ['10.0.0.1'], services: { 'ns/judge.test': {} } }, { namespace: 'ns', workloadIps: ['::1'], services: { 'ns/judge.test': { 80: 9090 } } }];
    expect(calloutOf({ service: { name: 'ns/judge.test', port: 80 } }, [], { services, workloads })).toMatchObject({ name: 'ns/judge.test:80', endpoints: [{ origin: 'http://10.0.0.1:8080' }, { origin: 'http://[::1]:9090' }] });
  });

  test('is known by one key to all processes, whichever secrets they know, and by another at each place', () => {
    const keyed = (key: string) => ({ ...HOST, policies: { backendAuth: { key } } });
    const keysOf = (policy: object) => [...(load(documentOf(policy, [])).generation?.authorizers?.keys() ?? [])];
    const all = keysOf({ conditional: [{ condition: 'true', ...keyed('one') }, keyed('two')] });
    expect(new Set(all).size).toBe(2);
    expect(keysOf({ conditional: [{ condition: 'true', ...keyed('withheld') }, keyed('withheld')] })).toEqual(all);
  });

  test('is reached by way of a backend, whose policies count for it', () => {
    const backends = [{ name: 'proxy', host: 'proxy.test:3128', policies: { backendTLS: { hostname: 'inner.test' }, backendAuth: { key: '${NONE:-k}' } } }];
    const tunnel = calloutOf({ ...HOST, protocol: { http: {} }, policies: { backendTunnel: { proxy: { backend: 'proxy' } } } }, backends)?.reaching.tunnel;
    expect(tunnel).toMatchObject({ origins: ['https://proxy.test:3128'], tls: { hostname: 'inner.test' }, auth: { location: { in: 'header', name: 'authorization' } } });
  });

  test('is known to connectors where it takes credentials, and to them alone', () => {
    const authorizers = (policy: object) => [...(load(documentOf(policy, [])).generation?.authorizers?.values() ?? [])].map(({ name }) => name);
    expect(authorizers(HOST)).toEqual([]);
    expect(authorizers({ ...HOST, policies: { backendAuth: { key: '${NONE:-k}' } } })).toEqual(['judge.test:9000']);
    expect(authorizers({ ...HOST, policies: { backendTunnel: { proxy: { host: 'p:1' }, policies: { backendAuth: { key: '${NONE:-k}' } } } } })).toEqual(['judge.test:9000']);
  });

  test.each<[string, object[], string]>([
    ['there is none', [{ name: 'jugde', host: 'x' }], 'there is no backend "judge"'],
    ['is an MCP server', [{ name: 'judge', mcp: { targets: [{ name: 'a', stdio: { cmd: 'x' } }] } }], 'is not a host'],
    ['speaks for callers', [{ name: 'judge', host: 'x', policies: { backendAuth: { passthrough: {} } } }], 'has backendAuth.passthrough, which speaks for a caller'],
    ['has a path', [{ name: 'judge', host: 'http://x/y' }], 'without a path'],
  ])('refuses a backend that %s', (_, backends, words) => {
    const { generation, problems } = load(documentOf({ conditional: [{ backend: 'judge' }] }, backends));
    expect(generation).toBeUndefined();
    expect(problems.find(({ path }) => path === 'routes[0].policies.extAuthz.conditional[0].backend')?.message).toContain(words);
  });

  test.each<[object, string]>([
    [{ backendAuth: { jwtSign: { signingKey: 'k' } } }, 'has backendAuth that is no key in a header'],
    [{ requestHeaderModifier: { set: { 'x-a': '1' } } }, 'has requestHeaderModifier, which holds for routes that lead there'],
  ])('refuses a proxy that is a backend with %j', (policies, words) => {
    const { problems } = load(documentOf({ ...HOST, policies: { backendTunnel: { proxy: { backend: 'proxy' } } } }, [{ name: 'proxy', host: 'proxy.test', policies }]));
    expect(problems.find(({ path }) => path === 'routes[0].policies.extAuthz.policies.backendTunnel.proxy.backend')?.message).toContain(words);
  });

  test('may stand at a backend and name another', () => {
    const mcp = { targets: [{ name: 'a', stdio: { cmd: 'x' } }] };
    const { generation, problems } = load({ gateways: { default: { port: 0 } }, backends: [{ name: 'judge', host: 'judge.test' }, { name: 'b', mcp, policies: { extAuthz: { backend: 'judge' } } }], routes: [{ backends: [{ mcp, policies: { extAuthz: { backend: 'judge' } } }] }] });
    expect(problems).toEqual([]);
    const host = { extAuthz: { callout: expect.objectContaining({ name: 'judge.test' }) } };
    expect([...(generation?.backends.values() ?? [])].map(({ policies }) => policies)).toContainEqual(host);
    expect(generation?.binds[0]?.listeners[0]?.routes[0]?.backends[0]?.policies).toEqual(host);
  });

  test.each(['gateway', 'route', 'backend'] as const)('is compiled in the %s phase', (phase) => expect(compileChain({ extAuthz: HOST }, phase, depsWith()).empty).toBe(false));
});

describe('what keeps an answer from us', () => {
  test.each<[string, unknown, string]>([
    ['a wait', new Fault('timeout', 'planted detail'), 'timeout'],
    ['a server that is away', new Fault('upstream', 'planted detail'), 'unavailable'],
  ])('%s denies, with the words of nobody', async (_, error, why) => {
    const { apply, counted } = compile(HOST, () => {
      throw error;
    });
    expect(await apply()).toEqual(deny(403, `extAuthz/${why}`, 'external authorization failed'));
    expect(counted).toEqual([why]);
  });

  test.each<[unknown, Verdict | number, CheckOutcome[]]>([
    ['allow', pass, ['unavailable', 'allowed-failing']],
    ['deny', 403, ['unavailable']],
    [{ denyWithStatus: 599 }, 599, ['unavailable']],
  ])('with failureMode %j', async (failureMode, verdict, outcomes) => {
    const { apply, counted } = compile({ ...HOST, failureMode }, () => {
      throw new Fault('upstream', 'away');
    });
    const told = await apply();
    expect(told.kind === 'deny' ? told.status : told).toEqual(verdict);
    expect(counted).toEqual(outcomes);
  });

  test('is a bug when it is one of ours, whatever failureMode says', async () => {
    const { apply } = compile({ ...HOST, failureMode: 'allow' }, () => {
      throw new TypeError('ours');
    });
    await expect(apply()).rejects.toThrow('ours');
  });
});

describe('a condition', () => {
  const conditional = (...conditions: (string | undefined)[]) => ({ conditional: conditions.map((condition, at) => ({ ...(condition === undefined ? {} : { condition }), host: `judge${at}.test` })) });

  test('that fails is not true, and the fallback is asked', async () => {
    const { apply, asked } = compile(conditional('jwt.sub == "a"', undefined), () => NO);
    expect(await apply()).toMatchObject({ kind: 'deny', reason: 'extAuthz/denied' });
    expect(asked).toHaveLength(1);
  });

  test('that fails without a fallback denies; one that is false does not', async () => {
    const { apply, asked } = compile(conditional('jwt.sub == "a"', 'request.path == "/other"'));
    expect(await apply()).toEqual(deny(403, 'extAuthz/condition', 'external authorization failed'));
    expect(await apply({}, { jwt: { sub: 'b' } })).toBe(pass);
    expect(asked).toEqual([]);
  });

  test('may look into the body', async () => {
    const { apply, asked } = compile(conditional('json(request.body).method == "tools/call"'));
    await apply(bodied('{"method":"ping"}'));
    expect(asked).toEqual([]);
    await apply(bodied('{"method":"tools/call"}'));
    expect(asked).toHaveLength(1);
    expect(await apply(bodied('not json'))).toMatchObject({ reason: 'extAuthz/condition' });
  });
});

describe('the body', () => {
  test.each([
    [8_192, 'goes on'],
    [8_193, 413],
  ])('of %d bytes, unless told otherwise: %s', async (size, what) => {
    const { apply, asked } = compile({ ...HOST, includeRequestBody: {} });
    const verdict = await apply(bodied('x'.repeat(size)));
    expect(verdict.kind === 'deny' ? verdict.status : 'goes on').toBe(what);
    expect(asked).toHaveLength(what === 413 ? 0 : 1);
  });

  test('that breaks off is its client\'s doing', async () => {
    const { apply } = compile({ ...HOST, includeRequestBody: {} });
    const broken = { prefix: () => Promise.reject(new Fault('invalid', 'the body broke off', { status: '400' })) };
    expect(await apply(broken)).toEqual(deny(400, 'extAuthz/body', 'the body broke off'));
  });

  test('is not looked at where nobody asks for it', async () => {
    const { apply } = compile({ ...HOST, cache: { key: ['request.path'], ttl: '1m' } });
    const guarded = { prefix: () => Promise.reject(new Error('looked at')), body: () => Promise.reject(new Error('looked at')) };
    expect(await apply(guarded)).toMatchObject({ kind: 'rewrite' });
  });
});

describe('a cache', () => {
  test.each<[string, number, number]>([
    ['"1s" + ""', 0, 2],
    ['1s', 999, 1],
    ['1s', 1_000, 2],
    ['duration("1s")', 999, 1],
    ['timestamp("1970-01-01T00:00:01Z")', 999, 1],
    ['timestamp("1970-01-01T00:00:01Z")', 1_000, 2],
    ['1', 999, 1],
    ['extauthz.until', 999, 1],
    ['extauthz.until', 1_000, 2],
    ['extauthz.nobody', 0, 2],
  ])('with ttl %s, %d ms later, has asked %d times', async (ttl, later, times) => {
    let now = 0;
    const answer = { ...YES, dynamic_metadata: { fields: { until: { kind: 'numberValue', numberValue: 1 } } } };
    const { apply, asked } = compile({ ...HOST, cache: { key: ['request.path'], ttl } }, () => answer, () => now);
    const first = await apply();
    now = later;
    expect(await apply()).toEqual(first);
    expect(asked).toHaveLength(times);
  });

  test('tells apart what its key tells apart, types included', async () => {
    const { apply, asked } = compile({ ...HOST, cache: { key: ['jwt.a', 'jwt.b'], ttl: '1h' } });
    const all: Record<string, unknown>[] = [{ a: 'x', b: 'y' }, { a: 'xy', b: '' }, { a: '', b: 'xy' }, { a: '1', b: '' }, { a: 1, b: '' }, { a: true, b: '' }, { a: 'true', b: '' }, { a: null, b: '' }];
    for (const jwt of [...all, ...all]) await apply({}, { jwt });
    expect(asked).toHaveLength(all.length);
  });

  test.each(['jwt.list', 'jwt.map', 'jwt.nobody'])('keeps nothing by %s', async (key) => {
    const { apply, asked } = compile({ ...HOST, cache: { key: [key], ttl: '1h' } });
    for (const _ of [1, 2]) await apply({}, { jwt: { list: ['a'], map: {} } });
    expect(asked).toHaveLength(2);
  });

  test('without a key keeps nothing', async () => {
    const { apply, asked } = compile({ ...HOST, cache: { key: [], ttl: '1h' } });
    for (const _ of [1, 2]) await apply();
    expect(asked).toHaveLength(2);
  });

  test.each([[16_000, 1], [16_385, 2]])('keeps no decision that is too large: %d characters', async (size, times) => {
    const { apply, asked } = compile({ ...HOST, protocol: { http: {} }, cache: { key: ['request.path'], ttl: '1h' } }, () => ({ ...ANSWER, status: 403, body: new Uint8Array(size) }));
    for (const _ of [1, 2]) await apply();
    expect(asked).toHaveLength(times);
  });

  /** Questions wait until they are answered by hand, in the order they were asked. */
  function waiting(cache: object = {}) {
    const open: PromiseWithResolvers<CheckResponse>[] = [];
    const judged = judge(() => YES);
    const grpc: Authorizers['grpc'] = () => ({ check: () => (open[open.push(Promise.withResolvers<CheckResponse>()) - 1] as PromiseWithResolvers<CheckResponse>).promise });
    const compiled = extAuthz.compile(extAuthz.schema.parse({ ...HOST, cache: { key: ['request.path'], ttl: '1h', ...cache } }), depsWith({ authorizers: { ...judged.authorizers, grpc } }));
    return { open, counted: judged.counted, ask: async (path = '/') => compiled.apply(callWith({ path }), NO_FACTS) };
  }
  const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

  test('asks once for what is asked for at once, and apart for what its key tells apart', async () => {
    const { open, counted, ask } = waiting();
    const asked = [ask(), ask(), ask('/other'), ask()];
    await settled();
    expect(open).toHaveLength(2);
    open[0]?.resolve(NO);
    open[1]?.resolve(YES);
    const verdicts = await Promise.all(asked);
    expect(verdicts.map(({ kind }) => kind)).toEqual(['deny', 'deny', 'rewrite', 'deny']);
    expect(counted.toSorted()).toEqual(['allowed', 'cached', 'cached', 'denied']);
    expect(await ask()).toEqual(verdicts[0]);
    expect(open).toHaveLength(2);
  });

  test('shares a failure with those who waited for it, and asks again for the next', async () => {
    const { open, counted, ask } = waiting();
    const asked = [ask(), ask()];
    await settled();
    open[0]?.reject(new Fault('timeout', 'away'));
    for (const verdict of await Promise.all(asked)) expect(verdict).toMatchObject({ kind: 'deny', reason: 'extAuthz/timeout' });
    expect(counted).toEqual(['timeout', 'timeout']);
    const next = ask();
    await settled();
    open[1]?.resolve(YES);
    expect(await next).toMatchObject({ kind: 'rewrite' });
  });

  test('shares no decision that is not kept: whoever waited asks then, all at once', async () => {
    const { open, ask } = waiting({ ttl: '0' });
    const asked = [ask(), ask(), ask()];
    await settled();
    expect(open).toHaveLength(1);
    open[0]?.resolve(NO);
    await settled();
    expect(open).toHaveLength(3);
    for (const one of open.slice(1)) one.resolve(YES);
    expect((await Promise.all(asked)).map(({ kind }) => kind)).toEqual(['deny', 'rewrite', 'rewrite']);
  });

  test('answers at once what it knows', async () => {
    const judged = judge(() => YES);
    const compiled = extAuthz.compile(extAuthz.schema.parse({ ...HOST, cache: { key: ['request.path'], ttl: '1h' } }), depsWith({ authorizers: judged.authorizers }));
    await compiled.apply(callWith(), NO_FACTS);
    expect(compiled.apply(callWith(), NO_FACTS)).not.toBeInstanceOf(Promise);
  });
});

describe('what it says of a caller', () => {
  const SPIFFE = { subject: 'CN=a', issuer: 'CN=ca', subjectCn: 'a', subjectAltNames: ['dns.test'], certificate: 'PEM', spiffeId: 'spiffe://td/ns/n/sa/s', identity: undefined };
  test.each([
    [SPIFFE, 'spiffe://td/ns/n/sa/s'],
    [{ ...SPIFFE, spiffeId: undefined }, 'dns.test'],
    [{ ...SPIFFE, spiffeId: undefined, subjectAltNames: [] }, 'CN=a'],
    [undefined, ''],
  ])('with the certificate %#', async (tls, principal) => {
    const { apply, asked } = compile(HOST);
    await apply({ source: { address: '::1', port: 7, tls } });
    expect((asked[0] as CheckRequest).attributes.source).toEqual({ address: { socket_address: { address: '::1', port_value: 7 } }, principal });
  });

  test('is the claims of a verified token, without the token', async () => {
    const { apply, asked } = compile(HOST);
    await apply({}, { jwt: { sub: 'ada', rawToken: 'planted' } });
    const { filter_metadata: told } = (asked[0] as CheckRequest).attributes.metadata_context;
    expect(told).toEqual({ 'envoy.filters.http.jwt_authn': { fields: { jwt_payload: { structValue: { fields: { sub: { stringValue: 'ada' } } } } } } });
  });
});
