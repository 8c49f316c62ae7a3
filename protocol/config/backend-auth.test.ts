import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { AwsSigning } from './aws-signing.ts';
import { callerSources } from './backend-auth.ts';
import { type Compilation, compileDocument } from './compile.ts';
import { type McpHttpTarget, mcpBackends } from './generation.ts';
import { withheldFrom } from './secret-paths.ts';
import { CLAIMS_CHARS_MAX } from './signed-token.ts';
import { SECRET_CHARS_MAX } from './secret-source.ts';
import type { TokenExchange } from './token-exchange.ts';

const PLANTED = 'planted-in-the-environment';

const compile = (backendAuth: unknown, more: object = {}): Compilation =>
  compileDocument({ mcp: { targets: [{ name: 'a', mcp: { host: 'h' }, policies: { backendAuth } }] } }, { env: { PLANTED }, ...more });
const authOf = (backendAuth: unknown, more: object = {}): McpHttpTarget['auth'] => {
  const { generation, problems } = compile(backendAuth, more);
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  return (generation && (mcpBackends(generation).get('mcp')?.targets[0] as McpHttpTarget))?.auth;
};
const errors = (backendAuth: unknown): string[] => compile(backendAuth).problems.filter(({ severity }) => severity === 'error').map(({ path, message }) => `${path.replace('mcp.targets[0].policies.', '')}: ${message}`);
const secretOf = (auth: McpHttpTarget['auth']): string | undefined => {
  const value = auth?.keys[0]?.value;
  return value !== undefined && 'secret' in value ? value.secret.reveal() : undefined;
};

describe('a key', () => {
  test.each([['$PLANTED'], [{ value: '${PLANTED}' }]])('may be written as %j, and goes into Authorization unless told otherwise', (key) => {
    const auth = authOf({ key });
    expect(secretOf(auth)).toBe(PLANTED);
    expect(auth?.keys[0]?.location).toEqual({ in: 'header', name: 'authorization', prefix: 'Bearer ' });
  });

  test('may lie in a file', () => {
    expect(authOf({ key: { file: '/k' } })?.keys[0]?.value).toEqual({ file: '/k' });
    expect(authOf({ key: { value: { file: '/k' } } })?.keys[0]?.value).toEqual({ file: '/k' });
  });

  test.each([
    [{ header: { name: 'X-Key' } }, { in: 'header', name: 'x-key', prefix: '' }],
    [{ header: { name: 'authorization', prefix: 'Basic ' } }, { in: 'header', name: 'authorization', prefix: 'Basic ' }],
    [{ queryParameter: { name: 'q' } }, { in: 'query', name: 'q' }],
    [{ cookie: { name: 'c' } }, { in: 'cookie', name: 'c' }],
  ])('goes where %j says', (location, compiled) => {
    expect(authOf({ key: { value: '$PLANTED', location } })?.keys[0]?.location).toEqual(compiled);
  });

  test('may have others beside it', () => {
    const credentials = [{ location: { header: { name: 'x-other' } }, key: '$PLANTED' }];
    expect(authOf({ key: '$PLANTED', credentials })?.keys.map(({ location }) => location.name)).toEqual(['authorization', 'x-other']);
    expect(authOf({ credentials })?.keys).toHaveLength(1);
  });

  test.each([[SECRET_CHARS_MAX, 0], [SECRET_CHARS_MAX + 1, 1]])('of %d characters has %d errors', (length, count) => {
    expect(errors({ key: 'k'.repeat(length) })).toHaveLength(count);
  });
});

describe('a token we sign', () => {
  const signed = (more: object): object => ({ jwtSign: { signingKey: '$PLANTED', ...more } });

  test('is good for five minutes with RS256 unless told otherwise', () => {
    expect(authOf(signed({}))?.token).toMatchObject({ kind: 'jwtSign', ttlMs: 300_000, claims: {}, signer: { algorithm: 'RS256', kid: undefined } });
    expect(authOf(signed({ ttl: '1m', alg: 'ES384' }))?.token).toMatchObject({ ttlMs: 60_000, signer: { algorithm: 'ES384' } });
  });

  test.each([['iat'], ['exp'], ['nbf']])('may not claim %s', (claim) => {
    expect(errors(signed({ claims: { [claim]: 1 } }))).toEqual(['backendAuth.jwtSign.claims: iat, exp, nbf are set when a token is signed']);
  });

  test.each([[0, 0], [1, 1]])('with claims %d characters past the limit has %d errors', (past, count) => {
    const claims = { a: 'x'.repeat(CLAIMS_CHARS_MAX - JSON.stringify({ a: '' }).length + past) };
    expect(errors(signed({ claims }))).toHaveLength(count);
  });

  test('is good for a second at least', () => expect(errors(signed({ ttl: '900ms' }))).toEqual(['backendAuth.jwtSign.ttl: expected a second or more']));
});

describe('a token that is exchanged', () => {
  const exchanged = (more: object): object => ({ oauthTokenExchange: { host: 'as.test', ...more } });
  const urlOf = (more: object): unknown => {
    const token = authOf(exchanged(more))?.token as TokenExchange | undefined;
    return token && `${token.callout.endpoints[0].origin}${token.path}`;
  };

  test('comes from where it is written', () => {
    expect(urlOf({})).toBe('http://as.test/');
    expect(urlOf({ path: '/token', policies: { backendTLS: {} } })).toBe('https://as.test/token');
    expect(urlOf({ host: 'https://as.test:8443/oauth/token' })).toBe('https://as.test:8443/oauth/token');
  });

  test.each<[object, string]>([
    [{ clientAuth: { clientId: 'c' } }, 'clientAuth.clientSecret: required, and missing: the secret of the client'],
    [{ clientAuth: { clientId: 'c', method: 'privateKeyJwt', signingKey: 'k' } }, 'clientAuth.assertionAudience: required, and missing: privateKeyJwt needs assertionAudience'],
    [{ clientAuth: { clientId: 'c', clientSecret: 's', alg: 'RS256' } }, 'clientAuth.alg: this belongs to method: privateKeyJwt'],
    [{ grantType: 'jwtBearer', requestedTokenType: 'urn:x' }, 'requestedTokenType: only a tokenExchange can ask for a type'],
    [{ grantType: 'jwtBearer', actorToken: { source: { header: { name: 'x' } } } }, 'actorToken: only a tokenExchange has an actor'],
    [{ actorToken: {} }, 'actorToken.source: required, and missing: expected a map'],
    [{ actorToken: { source: { header: { name: 'x' } }, enforceMayAct: true } }, 'actorToken.enforceMayAct: only a JWT says whose it is: tokenType: urn:ietf:params:oauth:token-type:jwt'],
    [{ additionalParams: { Scope: '"x"' } }, 'additionalParams.Scope: this parameter has a key of its own, or is set with the others'],
    [{ additionalParams: { 'a b': '"x"' } }, 'additionalParams["a b"]: expected the name of a parameter'],
    [{ additionalParams: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`p${n}`, '"x"'])) }, 'additionalParams: at most 32 parameters'],
    [{ clientAuth: { clientId: 'c', clientSecret: 's', certificate: 'x' } }, 'clientAuth.certificate: this belongs to method: privateKeyJwt'],
    [{ clientAuth: { clientId: 'c', method: 'privateKeyJwt', signingKey: 'k', assertionAudience: 'a', certificate: 'x' } }, 'clientAuth.certificateHeader: required, and missing: where the certificate goes'],
    [{ cache: { maxEntries: 100_001 } }, 'cache.maxEntries: at most 100000 entries'],
    [{ audiences: Array.from({ length: 33 }, () => 'a') }, 'audiences: at most 32 entries'],
  ])('%j is refused', (more, message) => expect(errors(exchanged(more))).toEqual([`backendAuth.oauthTokenExchange.${message}`]));
});

describe('a signature of AWS', () => {
  const ROLE = 'arn:aws:iam::123456789012:role/files';
  const aws = (written: object): object => ({ aws: written });
  const keys = { accessKeyId: '$PLANTED', secretAccessKey: '$PLANTED' };

  test('is made with what is written, or what is found, for bedrock unless told otherwise', () => {
    expect(authOf(aws({}))?.token).toEqual({ kind: 'aws', keys: undefined, region: undefined, service: 'bedrock', role: undefined });
    const token = authOf(aws({ ...keys, sessionToken: '$PLANTED', region: 'r', serviceName: 's' }))?.token as AwsSigning;
    expect([token.region, token.service, token.keys?.id.reveal(), token.keys?.secret.reveal(), token.keys?.session?.reveal()]).toEqual(['r', 's', PLANTED, PLANTED, PLANTED]);
  });

  test('asks each call for what expressions say of the session of a role', () => {
    const tags = [{ key: 'a', value: 'fixed' }, { key: 'b', expression: 'jwt.team' }];
    const auth = authOf(aws({ assumeRole: { roleArn: ROLE, sessionName: { expression: 'jwt.sub' }, tags } }));
    expect(auth === undefined ? [] : callerSources(auth)).toEqual([{ in: 'value', expression: 'jwt.sub' }, { in: 'value', expression: 'jwt.team' }]);
    const { expressions } = compile(aws({ assumeRole: { roleArn: ROLE, sessionName: { expression: 'jwt.sub' }, tags } }));
    expect(expressions?.map(({ path, use }) => [path.slice(-3).join('.'), use])).toEqual([['assumeRole.sessionName.expression', 'value'], ['tags.1.expression', 'value']]);
  });

  test('has nothing secret in what STS is told of a session', () => {
    const tags = [{ key: 'a', value: 'b' }, { key: 'c', expression: 'jwt.team' }];
    const written = aws({ assumeRole: { roleArn: ROLE, tags } });
    expect(compile(written).problems).toEqual([]);
    expect(authOf(written, { withheld: withheldFrom(['ingress']) })).toEqual(authOf(written));
  });

  const role = (more: object): object => aws({ assumeRole: { roleArn: ROLE, ...more } });
  test.each<[object, string]>([
    [aws({ accessKeyId: 'a' }), 'backendAuth.aws.secretAccessKey: required, and missing: accessKeyId needs it'],
    [aws({ secretAccessKey: 'a' }), 'backendAuth.aws.accessKeyId: required, and missing: secretAccessKey needs it'],
    [aws({ sessionToken: 'a' }), 'backendAuth.aws.sessionToken: this belongs to accessKeyId and secretAccessKey'],
    [aws({ ...keys, assumeRole: { roleArn: ROLE } }), 'backendAuth.aws.assumeRole: a role is assumed with the credentials of the environment: leave out accessKeyId and secretAccessKey'],
    [aws({ assumeRole: { roleArn: 'files' } }), 'backendAuth.aws.assumeRole.roleArn: expected the ARN of a role, as in arn:aws:iam::123456789012:role/name'],
    [role({ sessionName: 'a b' }), 'backendAuth.aws.assumeRole.sessionName: expected 2 to 64 letters, digits or +=,.@_-'],
    [role({ tags: [{ key: 'a' }] }), 'backendAuth.aws.assumeRole.tags[0]: one of value, expression is required'],
    [role({ tags: [{ key: 'a', value: 'b', expression: 'c' }] }), 'backendAuth.aws.assumeRole.tags[0]: only one of value, expression may be given'],
    [role({ tags: [{ key: 'a', value: 'b,c' }] }), 'backendAuth.aws.assumeRole.tags[0].value: expected at most 256 letters, digits, spaces or _.:/=+-@'],
    [role({ tags: [{ key: 'a', value: 'b' }, { key: 'a', value: 'c' }] }), 'backendAuth.aws.assumeRole.tags: each key at most once'],
    [role({ tags: Array.from({ length: 51 }, (_, n) => ({ key: `k${n}`, value: '' })) }), 'backendAuth.aws.assumeRole.tags: at most 50 tags'],
    [{ aws: {}, credentials: [{ location: { header: { name: 'Authorization' } }, key: 'x' }] }, 'backendAuth.credentials[0].location: the signature of aws goes into Authorization'],
  ])('%j is refused', (auth, message) => expect(errors(auth)).toEqual([message]));
});

test.each([
  [{ key: 'a', passthrough: {} }, 'backendAuth: only one of key, passthrough may be given'],
  [{ gcp: { audience: 'a' } }, 'backendAuth.gcp.audience: only an idToken has an audience: type: idToken'],
  ['copilot', 'backendAuth: expected a map, found a text'],
])('%j is refused', (auth, message) => expect(errors(auth)).toEqual([message]));

describe('what is written in vain', () => {
  test.each<[unknown, string]>([
    [{}, 'backendAuth: one of key, passthrough, jwtSign, oauthTokenExchange, crossAppAccess, gcp, aws, azure, credentials is required'],
    [{ key: { value: 'x', location: { expression: 'y' } } }, 'backendAuth.key.location.expression: Parley knows this key but does not serve it yet; refusing rather than serving without it'],
    [{ key: { valu: 'x' } }, 'backendAuth.key: expected a text, a file, or a value with its location, found a map'],
    [{ credentials: [{ location: { header: { name: 'Content-Length' } }, key: 'x' }] }, 'backendAuth.credentials[0].location.header.name: this header is taken by HTTP or MCP'],
    [{ credentials: [{ location: { header: { name: 'a b' } }, key: 'x' }] }, 'backendAuth.credentials[0].location.header.name: expected the name of a header'],
    [{ credentials: [{ location: {}, key: 'x' }] }, 'backendAuth.credentials[0].location: one of header, queryParameter, cookie is required'],
  ])('%j is refused', (auth, message) => expect(errors(auth)).toContain(message));
});

describe('a secret', () => {
  test('of the environment is in nothing that is printed, and in no message', () => {
    const { generation, problems } = compile({ key: '$PLANTED', credentials: [{ location: { header: { name: 'x' } }, key: '$PLANTED' }] });
    expect(problems).toEqual([]);
    for (const text of [JSON.stringify([...(generation?.backends ?? [])]), inspect(generation, { depth: 20 })]) expect(text).not.toContain(PLANTED);
    expect(JSON.stringify(compile({ key: { value: '$PLANTED', location: '$PLANTED' } }).problems)).not.toContain(PLANTED);
  });

  test('does not count in the id of a generation', () => {
    const idOf = (value: string) => compile({ key: '$PLANTED' }, { env: { PLANTED: value } }).generation?.id;
    expect(idOf('a')).toBe(idOf('b'));
  });

  test('is not looked up, kept or missed by a process that speaks to no server', () => {
    for (const key of ['$PLANTED', '$UNSET', 'in-clear', { value: '$UNSET' }]) expect(secretOf(authOf({ key }, { withheld: withheldFrom(['ingress', 'session']) }))).toBe('withheld');
    expect(compile({ key: '$UNSET' }).problems[0]?.message).toContain('UNSET is not set');
  });
});
