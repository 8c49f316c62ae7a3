import { describe, expect, test } from 'vitest';
import { connectionJudge, networkAuthorization } from './policy.ts';

const why = (rules: unknown[], address = '10.1.2.3', port = 5): string | undefined =>
  connectionJudge({ networkAuthorization: networkAuthorization.schema.parse({ rules }) })?.({ source: { address, port }, destination: { address: '10.0.0.1', port: 443 } })?.why;
const refused = (rule: string): string[] => (networkAuthorization.schema.safeParse({ rules: [rule] }).error?.issues ?? []).map(({ message }) => message);

test('without rules nobody judges', () => {
  expect([connectionJudge(), connectionJudge({}), connectionJudge({ networkAuthorization: { rules: [] } })]).toEqual([undefined, undefined, undefined]);
});

describe('a connection', () => {
  test.each<[rule: unknown, why: string | undefined]>([
    ['source.address == "10.1.2.3" && source.port == 5', undefined],
    ['destination.port == 443 && destination.address == "10.0.0.1"', undefined],
    ['cidr("10.0.0.0/8").containsIP(source.address)', undefined],
    ['cidr("192.168.0.0/16").containsIP(source.address)', 'no-allow'],
    [{ deny: 'source.address.startsWith("10.")' }, 'deny'],
    [{ deny: 'cidr(source.address).containsIP("10.0.0.1")' }, 'deny-failed'],
    [{ require: 'destination.port == 80' }, 'require'],
  ])('is judged by %j', (rule, expected) => expect(why([rule])).toBe(expected));

  test('whose address is gone already is not let in by a rule about addresses', () => expect(why(['cidr("0.0.0.0/0").containsIP(source.address)'], '')).toBe('no-allow'));
});

test.each([
  ['source.subjectCn == "a"', /^source\.subjectCn is not known yet/],
  ['destination.hostname == "a"', /^destination\.hostname is not known yet/],
  ['size(source) == 1', /^name the field of source/],
  ['request.method == "GET"', /request/],
  ['jwt.sub == "a"', /jwt/],
])('a rule that asks for more than addresses is refused: %s', (rule, message) => expect(refused(rule)).toEqual([expect.stringMatching(message)]));
