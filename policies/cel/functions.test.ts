/** Every function that is not the specification's, by an example. */
import { describe, expect, test } from 'vitest';
import { PLAIN_LANGUAGE, speaking } from '#protocol/config/language.ts';
import { compileExpression } from './expression.ts';
import type { Outcome } from './expression.ts';
import { PlainDuration } from './plain.ts';
import type { Activation } from './variables.ts';

function outcome(source: string, activation: Activation, use: 'evaluate' | 'evaluateUnredacted' = 'evaluate'): Outcome {
  const result = compileExpression(source, { deps: { random: () => 0.5 } });
  if (!result.ok) throw new Error(`${source}: ${result.problem.message}`);
  return result.expression[use](activation);
}

const activation: Activation = {
  jwt: { sub: 'x', n: null, groups: ['a', 'b'], rawToken: 'aaa.bbb.ccc', exp: 1700000000 },
  apiKey: { key: 'k-123', team: 'core' },
  source: { address: '10.1.2.3' },
  request: { headers: { authorization: 'Bearer abc', cookie: 's=1; t="q"', 'proxy-authorization': 'Basic x', 'x-a': ['1', '2'], accept: 'a/b, c/"d,e"', one: ['z'] } },
};

function value(source: string): unknown {
  const result = outcome(source, activation);
  return result.ok ? result.value : result.reason;
}

describe.each<[string, [source: string, expected: unknown][]]>([
  ['json and maps', [
    ['json("{\\"a\\": [1, 2.5, null]}").a', [1, 2.5, null]],
    ['json(b"[1]")', [1]],
    ['json("{")', 'failed'],
    ['toJson({"a": [1, 2.5, true, null, "x"]})', '{"a":[1,2.5,true,null,"x"]}'],
    ['toJson([duration("1500ms"), b"ab", timestamp("2026-01-02T03:04:05Z"), 9007199254740993])', '["1.5s","YWI=","2026-01-02T03:04:05.000Z","9007199254740993"]'],
    ['{"a": 1, "b": 2}.mapValues(v, v + 1)', { a: 2, b: 3 }],
    ['{"a": {"x": 1}}.mapValues(v, v.mapValues(w, w + 1))', { a: { x: 2 } }],
    ['{"a": 1, "b": 2}.filterKeys(k, k == "a")', { a: 1 }],
    ['{"a": 1, "b": 2}.removeKeys(k, k == "a")', { b: 2 }],
    ['[1].mapValues(v, v)', 'failed'],
    ['{"a": 1, "b": 1}.merge({"b": 2, "c": 3})', { a: 1, b: 2, c: 3 }],
    ['[1, 2].with(l, l + l)', [1, 2, 1, 2]],
    ['jwt.with(j, j.sub + j.groups[0])', 'xa'],
    ['unvalidatedJwtPayload("e30.eyJhIjoxfQ.x").a', 1],
    ['unvalidatedJwtPayload("nonsense")', 'failed'],
  ]],
  ['what may be missing', [
    ['default(jwt.nope, "d")', 'd'],
    ['default(jwt.a.b.c, "d")', 'd'],
    ['default(jwt.sub, "d")', 'x'],
    ['default(jwt.n, "d")', null],
    ['default(metadata.x, "d")', 'd'],
    ['default(request.headers["nope"], "d")', 'd'],
    ['default(1 / 0, -1)', -1],
    ['default(jwt.nope, jwt.neither)', 'missing'],
    ['[0, 5].map(i, default(jwt.groups[i], "none"))', ['a', 'none']],
    ['coalesce(jwt.n, jwt.nope, "c")', 'c'],
    ['coalesce(jwt.nope, jwt.n)', null],
    ['coalesce(jwt.sub, fail())', 'x'],
    ['fail()', 'failed'],
    ['fail("no")', 'failed'],
    ['true || fail()', true],
  ]],
  ['encodings and digests', [
    ['base64.encode("hi")', 'aGk='],
    ['base64.encode(b"\\xff\\xfe")', '//4='],
    ['string(base64.decode("aGk="))', 'hi'],
    ['string(base64.decode("aGk"))', 'hi'],
    ['base64.decode("a!")', 'failed'],
    ['url.encode("a b/ü(*)")', 'a%20b%2F%C3%BC%28%2A%29'],
    ['url.decode("a%20b%2F")', 'a b/'],
    ['url.decode("%zz")', 'failed'],
    ['form.encode({"a": "1 2", "b": ["x", "y"], "n": 3})', 'a=1+2&b=x&b=y&n=3'],
    ['form.decode("a=1+2&b=x&b=y")', { a: '1 2', b: ['x', 'y'] }],
    ['sha256.encode("abc")', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    ['sha1.encode(b"abc")', 'a9993e364706816aba3e25717850c26c9cd0d89d'],
    ['md5.encode("abc")', '900150983cd24fb0d6963f7d28e17f72'],
    ['uuid()', '80808080-8080-4080-8080-808080808080'],
    ['random()', 0.5],
  ]],
  ['text', [
    ['"/id/1234/data".regexReplace("/id/[0-9]*/", "/id/{id}/")', '/id/{id}/data'],
    ['"abc12 de3".regexReplace("([a-z]+)(?P<n>[0-9]+)", "$2-${1}-${n}-$$")', '12-abc-12-$ 3-de-3-$'],
    ['"foo bar".regexReplace("\\\\b", "|")', '|foo| |bar|'],
    ['"aaa".regexReplace("^a", "b")', 'baa'],
    ['"abc".regexReplace("", "-")', '-a-b-c-'],
    ['"abcabd".regexReplace("ab(c|d)?", "<$1>")', '<c><d>'],
    ['"aab".regexReplace("a|aa", "x")', 'xxb'],
    ['"ÄÖx😀y".regexReplace("[^a-z]", "_")', '__x_y'],
    ['"AbC".regexReplace("(?i)abc", "z")', 'z'],
    ['"Bearer x".stripPrefix("Bearer ")', 'x'],
    ['"a.json".stripSuffix(".json")', 'a'],
    ['"a,b,c".split(",", 2)', ['a', 'b,c']],
    ['"a,b,c".split(",", 0)', []],
    ['"aXbXc".replace("X", "-", 1)', 'a-bXc'],
    ['["a", "b"].join("-")', 'a-b'],
    ['"x😀".size()', 2],
    ['int("")', 'failed'],
    ['int("0x10")', 'failed'],
    ['int("-12")', -12],
    ['uint("-1")', 'failed'],
    ['double(" ")', 'failed'],
    ['double("1e3")', 1000],
    ['"add_user".matches("^add_.*$")', true],
    ['"a".matches(jwt.sub)', false],
  ]],
  ['numbers and time', [
    ['max(1, 2.5, 3u)', 3],
    ['min([4, 2, 8])', 2],
    ['max([])', 'failed'],
    ['math.greatest(1, 5, 3)', 5],
    ['math.sqrt(9)', 3],
    ['math.ceil(3)', 3],
    ['math.round(-1.5)', -2],
    ['timestamp(jwt.exp) > timestamp("2023-11-14T00:00:00Z")', true],
    ['timestamp(jwt.exp)', new Date(1700000000000)],
    ['timestamp("2026-01-02T03:04:05Z").getHours("Europe/Berlin")', 4],
    ['duration("90s").getMinutes()', 1],
    ['duration("1500ms")', new PlainDuration(1500)],
  ]],
  ['queries', [
    ['"/a?x=1&y=2&x=a%20b+c".query("x")', ['1', 'a b c']],
    ['"/a?x".query("x")', ['']],
    ['"/a".query("x")', []],
    ['"http://h/a?x=1#x=2".query("x")', ['1']],
    ['"/a?%zz=1".query("%zz")', ['1']],
    ['"/a".addQuery("x", "1 2&")', '/a?x=1%202%26'],
    ['"/a?y=%C3%BC&x=0".addQuery("x", "1")', '/a?y=%C3%BC&x=0&x=1'],
    ['"/a?y=1#f".addQuery("x", "1")', '/a?y=1&x=1#f'],
    ['"/a?x=1&y=2&x=3".setQuery("x", "4")', '/a?x=4&y=2'],
    ['"/a?y=2".setQuery("x", "4")', '/a?y=2&x=4'],
    ['"/a".setQuery("x", apiKey.key)', '<redacted>'],
    ['"/a".setQuery("x", 1)', 'failed'],
    ['jwt.groups.query("x")', 'failed'],
  ]],
  ['maps for logs', [
    ['flatten({"a": {"b": 1}, "c": 2})', { a: { b: 1 }, c: 2 }],
    ['flatten(["x", {"y": 1}])', { 0: 'x', 1: { y: 1 } }],
    ['flattenRecursive({"a": {"b": [1, {"c": 2}]}, "d": {}, "e": null})', { 'a.b.0': 1, 'a.b.1.c': 2, e: null }],
    ['flattenRecursive(apiKey)', { key: '<redacted>', team: 'core' }],
    ['flatten("x")', 'failed'],
    ['flattenRecursive(1)', 'failed'],
    ['variables().keys', 'missing'],
    ['variables().jwt.sub', 'x'],
  ]],
  ['addresses', [
    ['cidr("10.0.0.0/8").containsIP(source.address)', true],
    ['cidr("10.0.0.0/8").containsIP(ip("11.0.0.1"))', false],
    ['cidr("10.0.0.0/8").containsIP("::ffff:10.0.0.1")', true],
    ['cidr("10.0.0.0/8").containsIP("2001:db8::1")', false],
    ['cidr("10.0.0.0/8").containsIP("nonsense")', 'failed'],
    ['cidr("10.0.0.0/8").containsCIDR(cidr("10.1.0.0/16"))', true],
    ['cidr("10.1.0.0/16").containsCIDR("10.0.0.0/8")', false],
    ['string(cidr("10.1.2.3/8").masked())', '10.0.0.0/8'],
    ['cidr("2001:db8:ff::/33").masked()', '2001:db8::/33'],
    ['string(cidr("10.1.2.3/8").ip())', '10.1.2.3'],
    ['cidr("fe80::/10").prefixLength()', 10],
    ['cidr("10.0.0.0/33")', 'failed'],
    ['isIP("1.2.3.4") && isIP("::1")', true],
    ['isIP("010.1.1.1") || isIP("1.2.3") || isIP("0x7f.1") || isIP("1.2.3.4.") || isIP("fe80::1%eth0")', false],
    ['ip("::1").family()', 6],
    ['ip("127.0.0.1").isLoopback()', true],
    ['ip("0.0.0.0").isUnspecified()', true],
    ['ip("224.0.0.1").isLinkLocalMulticast()', true],
    ['ip("169.254.0.1").isLinkLocalUnicast()', true],
    ['ip("10.0.0.1").isGlobalUnicast() && !ip("255.255.255.255").isGlobalUnicast()', true],
    ['ip("1.1.1.1") == ip("1.1.1.1") && ip("::1") == ip("0:0::1")', true],
    ['jwt.sub.isLoopback()', 'failed'],
  ]],
  ['headers', [
    ['request.headers["x-a"]', ['1', '2']],
    ['request.headers["X-A"]', ['1', '2']],
    ['request.headers.one', 'z'],
    ['request.headers["nope"]', 'missing'],
    ['"X-a" in request.headers', true],
    ['request.headers.join()["x-a"]', '1,2'],
    ['request.headers.split()["accept"]', ['a/b', 'c/"d,e"']],
    ['request.headers.raw()["one"]', ['z']],
    ['request.headers.redacted()["authorization"]', '<redacted>'],
    ['request.headers.unredacted()["authorization"]', 'Bearer abc'],
    ['request.headers.cookie("t").unredacted()', 'q'],
    ['request.headers.cookie("none")', 'failed'],
    ['jwt.join()', 'failed'],
  ]],
  ['secrets', [
    ['jwt.rawToken', '<redacted>'],
    ['apiKey.key', '<redacted>'],
    ['request.headers', { authorization: '<redacted>', cookie: '<redacted>', 'proxy-authorization': '<redacted>', 'x-a': ['1', '2'], accept: 'a/b, c/"d,e"', one: 'z' }],
    ['request.headers.cookie("s")', '<redacted>'],
    ['string(apiKey.key)', '<redacted>'],
    ['"key: " + apiKey.key', '<redacted>'],
    ['sha256.encode(apiKey.key)', '<redacted>'],
    ['request.headers["authorization"].split(" ")', ['<redacted>', '<redacted>']],
    ['json("{\\"k\\":\\"" + apiKey.key + "\\"}")', { k: '<redacted>' }],
    ['toJson({"k": apiKey.key})', '{"k":"<redacted>"}'],
    ['toJson(apiKey)', '{"key":"<redacted>","team":"core"}'],
    ['apiKey.key == "k-123"', true],
    ['apiKey.key in ["k-123"]', true],
    ['apiKey.key != "k-124"', true],
    ['request.headers["authorization"].startsWith("Bearer ")', true],
    ['apiKey.key.matches("^k-[0-9]+$")', true],
    ['apiKey.key.size()', 5],
    ['apiKey.key.unredacted()', 'k-123'],
    ['sha256.encode(apiKey.key.unredacted()).size()', 64],
    ['request.headers["authorization"].stripPrefix("Bearer ").unredacted()', 'abc'],
    ['"x".unredacted()', 'x'],
  ]],
])('%s', (_what, rows) => {
  test.each(rows)('%s', (source, expected) => expect(value(source)).toEqual(expected));
});

describe('a header or a parameter that the configuration reads a credential from', () => {
  const language = { ...PLAIN_LANGUAGE, secretHeaders: new Set(['x-tenant-key']), secretParameters: new Set(['login']) };
  const known: Activation = { request: { uri: 'http://h/a?login=k-1&x=1', pathAndQuery: '/a?x=1', headers: { 'x-tenant-key': 'k-1', 'x-other': 'o', 'x-api-key': 'k-2', 'set-cookie': 'c=1' } } };
  const shown = (source: string): unknown => {
    const result = speaking(language, () => compileExpression(source, { deps: { random: () => 0.5 } }));
    const evaluated = result.ok ? result.expression.evaluate(known) : undefined;
    return evaluated?.ok === true ? evaluated.value : evaluated;
  };

  test.each<[string, unknown]>([
    ['request.headers', { 'x-tenant-key': '<redacted>', 'x-other': 'o', 'x-api-key': '<redacted>', 'set-cookie': '<redacted>' }],
    ['request.headers["X-Tenant-Key"]', '<redacted>'],
    ['request.headers["x-tenant-key"] == "k-1"', true],
    ['request.headers.unredacted()["x-tenant-key"]', 'k-1'],
    ['request.headers.join()["x-tenant-key"]', '<redacted>'],
    ['request.uri', '<redacted>'],
    ['request.uri.startsWith("http://h/")', true],
    ['request.pathAndQuery', '/a?x=1'],
    ['request.uri.query("login")', ['<redacted>']],
    ['request.uri.query("login") == ["k-1"]', true],
    ['request.uri.query("x")', ['1']],
    ['request.uri.addQuery("y", "2")', '<redacted>'],
    ['"/a?access_token=k".query("x")', []],
  ])('is a secret: %s', (source, expected) => expect(shown(source)).toEqual(expected));

  test('is none for another configuration', () => {
    const result = compileExpression('[request.headers["x-tenant-key"], request.uri]', { deps: { random: () => 0.5 } });
    expect(result.ok && result.expression.evaluate(known)).toEqual({ ok: true, value: ['k-1', 'http://h/a?login=k-1&x=1'] });
  });
});

test('a secret is what it is where a value is used and not shown', () => {
  expect(outcome('request.headers["authorization"].stripPrefix("Bearer ")', activation, 'evaluateUnredacted')).toEqual({ ok: true, value: 'abc' });
  expect(outcome('[apiKey.key, jwt.sub]', activation, 'evaluateUnredacted')).toEqual({ ok: true, value: ['k-123', 'x'] });
});
