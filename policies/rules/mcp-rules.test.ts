import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { CALL_FACTS_CHARS_MAX, readCallFacts } from '#protocol/subjects/call-facts.ts';
import { callWith } from '../../test/world/policy.ts';
import { policySchemas } from '../order.ts';
import type { Facts, PolicyCall } from '../policy.ts';
import { McpRules } from './mcp-rules.ts';
import { requestVariables } from './request-variables.ts';

type Rules = readonly unknown[] | undefined;
const policies = (rules: Rules): object => (rules === undefined ? {} : { policies: { mcpAuthorization: { rules } } });

interface Plan {
  readonly route?: Rules;
  readonly ofRoute?: Rules;
  readonly backend?: Rules;
  readonly other?: Rules;
  readonly customFunctions?: string;
}

/** Route `r` to `b` and `c`, route `s` to `c` alone. */
function generationOf({ route, ofRoute, backend, other, customFunctions }: Plan): Generation {
  const mcp = { targets: [{ name: 't', mcp: { host: 'http://t.test/mcp' } }] };
  const document = {
    config: { customFunctions },
    gateways: { default: { port: 80 } },
    routes: [
      { name: 'r', ...policies(route), backends: [{ backend: 'b', ...policies(ofRoute) }, { backend: 'c' }] },
      { name: 's', matches: [{ path: { exact: '/s' } }], ...policies(other), backends: [{ backend: 'c' }] },
    ],
    backends: [{ name: 'b', mcp, ...policies(backend) }, { name: 'c', mcp }],
  };
  const { generation, problems } = compileDocument(document, { env: {}, policies: policySchemas });
  if (generation === undefined) throw new Error(JSON.stringify(problems));
  return generation;
}

const rulesOf = (plan: Plan): McpRules => new McpRules(generationOf(plan));
const factsOf = (rules: McpRules, call: Partial<PolicyCall> = {}, facts: Facts = {}) => readCallFacts(rules.facts('r', requestVariables(callWith(call), facts, {})));

describe('the rules of a generation', () => {
  test('are those of the route, of the route for the backend, and of the backend', () => {
    const rules = rulesOf({ route: ['true'], ofRoute: [{ deny: 'false' }], backend: ['false', { require: 'true' }] });
    expect(rules.of('r', 'b').map(({ at }) => at)).toEqual(['routeBackend.rules[0]', 'backend.rules[1]', 'route.rules[0]', 'backend.rules[0]']);
    expect(rules.of('r', 'c').map(({ at }) => at)).toEqual(['route.rules[0]']);
    expect([rules.of('s', 'c'), rules.of('nowhere', 'b')]).toEqual([[], []]);
  });

  test('concern every backend that some route judges calls to', () => {
    const concerned = (plan: Plan) => ['b', 'c'].filter((backend) => rulesOf(plan).concerns(backend));
    expect(concerned({})).toEqual([]);
    expect(concerned({ route: [] })).toEqual([]);
    expect(concerned({ route: ['true'] })).toEqual(['b', 'c']);
    expect(concerned({ backend: ['true'] })).toEqual(['b']);
    expect(concerned({ other: ['true'] })).toEqual(['c']);
  });

  test('have changed for the backends whose rules are others, on whichever route', () => {
    const changed = (one: Plan, other: Plan) => rulesOf(other).changed(rulesOf(one));
    expect(changed({ route: ['true'] }, { route: ['true'] })).toEqual([]);
    expect(changed({ backend: ['true'] }, { backend: ['false'] })).toEqual(['b']);
    expect(changed({ backend: ['true'] }, {})).toEqual(['b']);
    expect(changed({}, { other: [{ deny: 'false' }] })).toEqual(['c']);
    const calling = (body: string): Plan => ({ backend: ['f()'], customFunctions: `f() { ${body} }` });
    expect(changed(calling('true'), calling('true'))).toEqual([]);
    expect(changed(calling('true'), calling('false'))).toEqual(['b']);
  });

  test('ask for what the functions read that they call', () => {
    const rules = rulesOf({ route: ['inGroup("a")'], customFunctions: 'inGroup(g) { g in jwt.groups }' });
    expect(factsOf(rules, {}, { jwt: { groups: ['a'], sub: 'ada' } }).known).toEqual({ jwt: { groups: ['a'] } });
  });
});

describe('what connectors are told of a call', () => {
  const call = { method: 'POST', path: '/mcp', headers: { 'x-tenant': 'blue', 'x-other': 'secret', authorization: 'Bearer token', cookie: 'a=b' } };
  const facts: Facts = { principal: 'ada', jwt: { sub: 'ada', groups: ['a'], email: 'ada@x.test' }, apiKey: { plan: 'gold' }, basicAuth: { username: 'ada' } };

  test('is what the rules of its route name, at whichever backend, and nothing else', () => {
    const rules = rulesOf({ route: ['"a" in jwt.groups', 'request.headers["X-Tenant"] == "blue"'], backend: ['jwt.sub == mcp.tool.name && backend.name == "b"', 'basicAuth.username == "x" && request.method == "POST"'] });
    expect(factsOf(rules, call, facts).known).toEqual({ jwt: { groups: ['a'], sub: 'ada' }, request: { headers: { 'x-tenant': 'blue' }, method: 'POST' }, basicAuth: { username: 'ada' } });
  });

  test('leaves out what there is not', () => {
    expect(factsOf(rulesOf({ route: ['jwt.sub == "ada"', 'request.headers["x-tenant"] == "b"'] })).known).toEqual({ request: { headers: {} } });
  });

  test('is no token, even where a rule asks for all there is', () => {
    const known = factsOf(rulesOf({ route: ['"sub" in jwt && "plan" in apiKey'] }), {}, { jwt: { sub: 'ada', rawToken: 'x.y.z' }, apiKey: { plan: 'gold', key: 'k' } }).known;
    expect(known).toEqual({ jwt: { sub: 'ada' }, apiKey: { plan: 'gold' } });
  });

  test('takes names of a prototype for names like others', () => {
    const { known } = factsOf(rulesOf({ route: ['jwt.__proto__ == "x"', 'jwt.constructor == "x"'] }), {}, { jwt: JSON.parse('{"__proto__":"p","sub":"s"}') as Record<string, unknown> });
    expect(JSON.stringify(known)).toBe('{"jwt":{"__proto__":"p"}}');
  });

  test('says which facts were asked for: the same when they are the same', () => {
    const asks = (plan: Plan) => rulesOf(plan).asks('r');
    expect(asks({ route: ['jwt.sub == "a"', 'jwt.email == "b"'] })).toBe(asks({ route: ['jwt.email == "c" || jwt.sub == "d"'] }));
    const different = [{}, { route: ['true'] }, { backend: ['true'] }, { route: ['jwt.sub == "a"'] }, { route: ['jwt == {}'] }].map(asks);
    expect(new Set(different).size).toBe(different.length);
    expect(rulesOf({}).asks('nowhere')).toBeUndefined();
  });

  test('may be as long as a message takes, and not longer', () => {
    const rules = rulesOf({ route: ['request.headers["x-long"] == "a"'] });
    const empty = rules.facts('r', requestVariables(callWith({ headers: { 'x-long': '' } }), {}, {})).length;
    const long = (chars: number) => requestVariables(callWith({ headers: { 'x-long': 'a'.repeat(chars) } }), {}, {});
    expect(rules.facts('r', long(CALL_FACTS_CHARS_MAX - empty))).toHaveLength(CALL_FACTS_CHARS_MAX);
    expect(() => rules.facts('r', long(CALL_FACTS_CHARS_MAX - empty + 1))).toThrow(`longer than ${CALL_FACTS_CHARS_MAX}`);
  });
});
