import { describe, expect, test } from 'vitest';
import { policySchemas } from '#policies/order.ts';
import { McpRules } from '#policies/rules/mcp-rules.ts';
import { requestVariables } from '#policies/rules/request-variables.ts';
import { compileDocument } from '#protocol/config/compile.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Request, encode, parseJson } from '#protocol/mcp/message.ts';
import { callWith } from '../../../../test/world/policy.ts';
import { type CallJudge, CallRules } from './call-rules.ts';
import { UpstreamCall } from '../targets/upstream.ts';

function generationOf(rules: readonly unknown[] | undefined): Generation {
  const policies = rules === undefined ? {} : { policies: { mcpAuthorization: { rules } } };
  const { generation, problems } = compileDocument({ mcp: { ...policies, targets: [{ name: 't', mcp: { host: 'http://t.test/mcp' } }] } }, { env: {}, policies: policySchemas });
  if (generation === undefined) throw new Error(JSON.stringify(problems));
  return generation;
}

/** As ingress writes them under these rules. */
const factsOf = (rules: readonly unknown[], headers: Record<string, string> = {}): string => new McpRules(generationOf(rules)).facts('mcp', requestVariables(callWith({ headers }), {}, {}));

function judgeOf(rules: readonly unknown[], headers?: Record<string, string>): CallJudge {
  const all = new CallRules();
  all.enter(generationOf(rules));
  const judge = all.judge('mcp', factsOf(rules, headers));
  if (judge === undefined) throw new Error('nobody judges');
  return judge;
}

const callOf = (method: string, params: Record<string, unknown>): UpstreamCall => {
  const request: Request = { jsonrpc: '2.0', id: 1, method, params };
  return new UpstreamCall({ id: 1, method, payload: encode(request), deadline: 0 });
};

/** The words of the refusal, or `admitted`. */
function said(judge: CallJudge, method: string, params: Record<string, unknown>): string {
  const call = callOf(method, params);
  const admitted = judge.admit('t', call, call);
  return admitted instanceof UpstreamCall ? 'admitted' : `${admitted.fault.facts['rpc']} ${admitted.fault.message}`;
}

const NAMED: readonly [method: string, params: (name: string) => Record<string, unknown>, kind: string, refusal: string][] = [
  ['tools/call', (name) => ({ name, arguments: {} }), 'tool', '-32602 Unknown tool: bad'],
  ['prompts/get', (name) => ({ name }), 'prompt', '-32602 Unknown prompt: bad'],
  ['resources/read', (uri) => ({ uri }), 'resource', '-32602 Resource not found: bad'],
  ['resources/subscribe', (uri) => ({ uri }), 'resource', '-32602 Resource not found: bad'],
  ['resources/unsubscribe', (uri) => ({ uri }), 'resource', '-32602 Resource not found: bad'],
  ['completion/complete', (name) => ({ ref: { type: 'ref/prompt', name } }), 'prompt', '-32602 Unknown prompt or resource'],
  ['completion/complete', (uri) => ({ ref: { type: 'ref/resource', uri } }), 'resource', '-32602 Unknown prompt or resource'],
  ['tasks/get', (taskId) => ({ taskId }), 'task', '-32602 Unknown task: bad'],
  ['tasks/result', (taskId) => ({ taskId }), 'task', '-32602 Unknown task: bad'],
  ['tasks/update', (taskId) => ({ taskId }), 'task', '-32602 Unknown task: bad'],
  ['tasks/cancel', (taskId) => ({ taskId }), 'task', '-32602 Unknown task: bad'],
];

describe.each(NAMED)('%s', (method, params, kind, refusal) => {
  const judge = judgeOf([{ deny: `mcp.${kind}.name == "bad" && mcp.${kind}.target == "t" && mcp.methodName == "${method}"` }]);

  test('goes on when its name may be used, and is refused as unknown when not', () => {
    expect(said(judge, method, params('good'))).toBe('admitted');
    expect(said(judge, method, params('bad'))).toBe(refusal);
  });

  test('is refused when it names nothing, whatever the rules', () => {
    const any = judgeOf(['true']);
    for (const name of [7, null, undefined, ['good'], { good: 1 }]) expect(said(any, method, params(name as never))).toMatch(/^-32602 /);
  });
});

describe('a call that is judged', () => {
  test.each(['ping', 'initialize', 'server/discover', 'logging/setLevel', 'tools/list', 'tasks/list', 'nobody/knows'])('is none that names nothing: %s', (method) => {
    const call = callOf(method, {});
    expect(judgeOf([{ deny: 'true' }]).admit('t', call, call)).toBe(call);
  });

  test('goes on as it was read: the last of two equal keys, and nothing of the first', () => {
    const payload = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bad","name":"good","x":{"y":[1]}}}');
    const call = new UpstreamCall({ id: 1, method: 'tools/call', payload, deadline: 0 });
    const admitted = judgeOf([{ deny: 'mcp.tool.name == "bad"' }]).admit('t', call, call) as UpstreamCall;
    expect(Buffer.from(admitted.payload).toString()).toBe('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"good","x":{"y":[1]}}}');
  });

  test.each([{ name: 'good', Name: 'bad' }, { name: 'good', Arguments: { amount: 1 } }])('is refused when some parser might read another name or other arguments: %j', (params) => {
    expect(said(judgeOf(['true']), 'tools/call', params)).toBe('-32602 Unknown tool: good');
  });

  test('is judged by its arguments', () => {
    const judge = judgeOf(['mcp.tool.arguments.amount <= 100']);
    expect(said(judge, 'tools/call', { name: 'pay', arguments: { amount: 100 } })).toBe('admitted');
    expect(said(judge, 'tools/call', { name: 'pay', arguments: { amount: 101 } })).toBe('-32602 Unknown tool: pay');
    expect(said(judge, 'tools/call', { name: 'pay' })).toBe('-32602 Unknown tool: pay');
  });

  test('is judged by what ingress knows of its caller', () => {
    const rules = ['request.headers["x-role"] == "admin"'];
    expect(said(judgeOf(rules, { 'x-role': 'admin' }), 'tools/call', { name: 'a' })).toBe('admitted');
    expect(said(judgeOf(rules, { 'x-role': 'guest' }), 'tools/call', { name: 'a' })).toBe('-32602 Unknown tool: a');
    expect(said(judgeOf(rules), 'tools/call', { name: 'a' })).toBe('-32602 Unknown tool: a');
  });

  test('is refused in the words of its client, and tells why and by which rule', () => {
    const refused = judgeOf(['true', { deny: 'mcp.tool.name == "bad"' }]).admit('t', callOf('tools/call', { name: 'bad' }), callOf('tools/call', { name: 't_bad' }));
    expect(refused).toMatchObject({ denial: { why: 'deny', rule: 'route.rules[1]' }, fault: { code: 'invalid', message: 'Unknown tool: t_bad' } });
  });
});

describe('a list', () => {
  const item = (name: string): Record<string, unknown> => ({ name, uri: name, uriTemplate: name, taskId: name });
  test.each([
    ['tools/list', 'tools', 'tool'],
    ['prompts/list', 'prompts', 'prompt'],
    ['resources/list', 'resources', 'resource'],
    ['resources/templates/list', 'resourceTemplates', 'resource'],
    ['tasks/list', 'tasks', 'task'],
  ])('%s is cut to what its caller may see, and says how much that left out', (method, key, kind) => {
    let hidden = 0;
    const cut = judgeOf([{ deny: `mcp.${kind}.name == "bad"` }]).cut(method, 't', (count) => (hidden += count));
    const answer = { jsonrpc: '2.0', id: 1, result: { [key]: [item('good'), item('bad'), {}, item('fine')], nextCursor: 'n', _meta: { a: 1 } } } as const;
    expect(cut?.(answer)).toEqual({ jsonrpc: '2.0', id: 1, result: { [key]: [item('good'), item('fine')], nextCursor: 'n', _meta: { a: 1 } } });
    expect(hidden).toBe(2);
  });

  test('of something else is not cut, nor is an error', () => {
    const judge = judgeOf(['false']);
    expect(judge.cut('tools/call', 't', () => undefined)).toBeUndefined();
    const error = { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'no' } } as const;
    expect(judge.cut('tools/list', 't', () => undefined)?.(error)).toBe(error);
  });

  test('shows a tool without the page that its caller may not read', () => {
    const tools = [
      { name: 'a', _meta: { ui: { resourceUri: 'ui://secret', csp: 1 }, x: 1 } },
      { name: 'b', _meta: { 'ui/resourceUri': 'ui://secret' } },
      { name: 'c', _meta: { ui: { resourceUri: 'ui://open' } } },
    ];
    const see = judgeOf([{ deny: 'mcp.resource.name == "ui://secret"' }]).lister('tools/list', () => undefined);
    expect(see('t', tools)).toEqual([{ name: 'a', _meta: { ui: { csp: 1 }, x: 1 } }, { name: 'b', _meta: {} }, tools[2]]);
  });
});

test('a client that listens hears of no resource and no task it may not know', () => {
  const judge = judgeOf([{ deny: 'mcp.resource.name == "r:bad"' }, { deny: 'mcp.task.name == "bad"' }]);
  const all = { toolsListChanged: true, resourceSubscriptions: ['r:good'], taskIds: ['good'] };
  expect(judge.hearable('t', all)).toBe(all);
  expect(judge.hearable('t', { toolsListChanged: true, resourceSubscriptions: ['r:good', 'r:bad', 7], taskIds: ['bad'] })).toEqual({ toolsListChanged: true, resourceSubscriptions: ['r:good'] });
  const listening = judge.listening('t', callOf('subscriptions/listen', { notifications: { resourceSubscriptions: ['r:bad'] } }));
  expect(parseJson(listening.payload)).toMatchObject({ params: { notifications: {} } });
});

describe('the rules in force', () => {
  test('judge nobody where there are none', () => {
    const all = new CallRules();
    expect(all.judge('mcp', undefined)).toBeUndefined();
    all.enter(generationOf(undefined));
    expect(all.judge('mcp', undefined)).toBeUndefined();
  });

  test.each<[what: string, here: readonly unknown[] | undefined, facts: string | undefined]>([
    ['none, where there are rules', ['true'], undefined],
    ['some, where there are no rules', undefined, factsOf(['true'])],
    ['those of rules that ask for less', ['jwt.sub == "a"'], factsOf(['true'])],
    ['those of another route', ['true'], factsOf(['true']).replace('"route":"mcp"', '"route":"other"')],
  ])('judge nobody by facts that were gathered for other rules: %s', (_what, here, facts) => {
    const all = new CallRules();
    all.enter(generationOf(here));
    const judging = (): unknown => all.judge('mcp', facts);
    expect(judging).toThrow('being changed; try again');
    expect(judging).toThrow(expect.objectContaining({ code: 'overloaded' }) as Fault);
  });

  test('are new ones from one call to the next, by the facts that are the same', () => {
    const all = new CallRules();
    const facts = factsOf([{ deny: 'mcp.tool.name == "a"' }]);
    expect(all.enter(generationOf([{ deny: 'mcp.tool.name == "a"' }]))).toEqual(['mcp']);
    expect(said(all.judge('mcp', facts) as CallJudge, 'tools/call', { name: 'a' })).toMatch(/Unknown/);
    expect(all.enter(generationOf([{ deny: 'mcp.tool.name == "b"' }]))).toEqual(['mcp']);
    expect(said(all.judge('mcp', facts) as CallJudge, 'tools/call', { name: 'a' })).toBe('admitted');
    expect(all.enter(generationOf([{ deny: 'mcp.tool.name == "b"' }]))).toEqual([]);
  });

  test('read no facts that no ingress wrote', () => {
    const all = new CallRules();
    for (const facts of ['{}', '{"route":"mcp","asks":7,"known":{}}', `"${'x'.repeat(40_000)}"`]) expect(() => all.judge('mcp', facts)).toThrow(expect.objectContaining({ code: 'bug' }) as Fault);
  });
});

test('a backend is called the same on a route that reaches its targets in its own way', () => {
  const policies = { mcpAuthorization: { rules: [{ deny: 'backend.name == "shared"' }] } };
  const document = {
    backends: [{ name: 'shared', policies, mcp: { targets: [{ name: 't', mcp: { host: 't.test' } }] } }],
    binds: [{ port: 1, listeners: [{ routes: [{ name: 'own', policies: { backendTLS: {} }, backends: [{ backend: 'shared' }] }] }] }],
  };
  const { generation } = compileDocument(document, { env: {}, policies: policySchemas });
  if (generation === undefined) throw new Error('not compiled');
  const [variant] = generation.binds[0]?.listeners[0]?.routes[0]?.backends ?? [];
  const all = new CallRules();
  all.enter(generation);
  const judge = all.judge(variant?.backend ?? '', new McpRules(generation).facts('own', requestVariables(callWith({}), {}, {})));
  expect(said(judge as CallJudge, 'tools/call', { name: 'any' })).toBe('-32602 Unknown tool: any');
});
