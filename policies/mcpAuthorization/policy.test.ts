import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { readDocument } from '#protocol/config/read.ts';
import { depsWith } from '../../test/world/policy.ts';
import { compileChain, emptyChain } from '../chain.ts';
import { policySchemas } from '../order.ts';
import { mcpAuthorization } from './policy.ts';

const refused = (rule: unknown): string[] => (mcpAuthorization.schema.safeParse({ rules: [rule] }).error?.issues ?? []).map(({ message }) => message);

test('is no part of a chain: the connector judges it', () => {
  expect(mcpAuthorization.judgedBy).toBe('connector');
  expect(compileChain({ mcpAuthorization: { rules: ['false'] } }, 'route', depsWith())).toBe(emptyChain);
});

describe('a rule may ask for', () => {
  test.each([
    'mcp.tool.name == "a" && mcp.tool.target == "t" && mcp.tool.arguments.x == 1 && mcp.methodName == "tools/call"',
    'mcp.prompt.name == "a" || mcp.resource.name == "a" || mcp.task.name == "a"',
    'backend.name == "b"',
    'request.method == "POST" && request.host == "h" && request.path == "/p" && request.scheme == "https" && request.version == "HTTP/1.1"',
    'request.headers["x-tenant"] == "a"',
    '"admin" in jwt.groups && apiKey.plan == "gold" && basicAuth.username == "ada" && extauthz.ok',
    'source.address == "::1" && proxy.route.name == "r" && env.podName == "p"',
  ])('%s', (rule) => expect(refused(rule)).toEqual([]));
});

describe('a rule is refused, with the reason, that asks for', () => {
  test.each<[rule: string, why: RegExp]>([
    ['source.connectHeaders["Proxy-Authorization"] == "Basic x"', /^the header proxy-authorization carries credentials and does not leave ingress/],
    ['size(source.connectHeaders) == 0', /^name the header that is meant/],
    ['source == {}', /^name the field of source that is meant/],
    ['request.headers["Authorization"] == "Bearer x"', /^the header authorization carries credentials and does not leave ingress/],
    ['request.headers.cookie == "x"', /^the header cookie carries credentials/],
    ['"x" == request.headers["proxy-authorization"]', /^the header proxy-authorization carries credentials/],
    ['request.headers.exists(name, name == "x")', /^name the header that is meant/],
    ['request.headers[jwt.header] == "x"', /^name the header that is meant/],
    ['request.headers["x-api-key"] == "x"', /^the header x-api-key carries credentials/],
    ['jwt.rawToken.startsWith("x")', /^jwt\.rawToken is a credential/],
    ['apiKey.key == "x"', /^apiKey\.key is a credential/],
    ['mcp.sessionId == "x"', /^mcp\.sessionId is what lets a client in/],
    ['request.body == "x"', /^request\.body does not reach these rules: a call's arguments are mcp\.tool\.arguments$/],
    ['request.uri == "x"', /^request\.uri does not reach these rules/],
    ['request.pathAndQuery == "x"', /^request\.pathAndQuery does not reach these rules/],
    ['size(request) == 1', /^name the field of request/],
    ['destination.port == 1', /destination/],
    ['jwt.sub ==', /^line 1, column \d+ of the expression: /],
  ])('%s', (rule, why) => expect(refused({ deny: rule })).toEqual([expect.stringMatching(why)]));
});

test('what is wrong with a rule is told with its line in the file and its position in the rule', () => {
  const text = `mcp:
  port: 3000
  policies:
    mcpAuthorization:
      rules:
        - 'mcp.tool.name == "a"'
        - deny: 'mcp.tool.name = "b"'
  targets:
    - name: t
      mcp: { host: http://t.test/mcp }
`;
  const { document, locate } = readDocument(text, { file: 'parley.yaml' });
  const { problems } = compileDocument(document, { env: {}, policies: policySchemas });
  expect(problems).toEqual([{ severity: 'error', path: 'mcp.policies.mcpAuthorization.rules[1].deny', message: expect.stringMatching(/^line 1, column \d+ of the expression: /) }]);
  expect(locate('mcp.policies.mcpAuthorization.rules[1].deny')).toEqual({ line: 7, column: 11 });
});
