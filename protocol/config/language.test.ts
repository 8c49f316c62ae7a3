import { expect, test } from 'vitest';
import { compileDocument } from './compile.ts';
import { type Language, PLAIN_LANGUAGE, speaking, spoken } from './language.ts';

const target = { name: 't', mcp: { host: 'http://t.test/mcp' } };

function languageOf(config: object | undefined, policies: object = {}): Language | undefined {
  const { generation, problems } = compileDocument({ ...(config && { config }), mcp: { port: 3000, policies, targets: [target] } }, { env: {} });
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  return generation?.language;
}

test('a configuration that adds nothing to the language has none', () => {
  for (const config of [undefined, {}, { customFunctions: '' }, { customFunctions: ' \n' }, { customFunctions: null, sensitiveHeaders: [] }]) expect(languageOf(config)).toBeUndefined();
  expect(languageOf({}, { cors: { allowOrigins: ['*'] } })).toBeUndefined();
});

test('its functions and its sensitive headers are part of it', () => {
  expect(languageOf({ customFunctions: 'f() { 1 }', sensitiveHeaders: ['X-Tenant-Secret'] })).toEqual({
    customFunctions: 'f() { 1 }',
    secretHeaders: new Set(['x-tenant-secret']),
    secretParameters: new Set(),
  });
});

test('so are the places it has credentials in, whatever policy reads them there', () => {
  const language = languageOf(undefined, {
    apiKey: { location: { header: { name: 'X-Tenant-Key' } } },
    basicAuth: { authorizationLocation: { queryParameter: { name: 'login' } } },
    jwtAuth: { location: { expression: 'request.headers["X-A"] + request.headers.x_b + request.headers.cookie("c") + request.uri.query(\'q\')[0]' } },
    mcpAuthentication: { authorizationLocation: { cookie: { name: 'c' } } },
  });
  expect(language?.secretHeaders).toEqual(new Set(['x-tenant-key', 'x-a', 'x_b']));
  expect(language?.secretParameters).toEqual(new Set(['login', 'q']));
});

test('it is spoken while it is compiled with, whatever happens, and not after', () => {
  const language: Language = { ...PLAIN_LANGUAGE, customFunctions: 'f() { 1 }' };
  expect(speaking(language, () => [spoken(), speaking(undefined, spoken), spoken()])).toEqual([language, PLAIN_LANGUAGE, language]);
  expect(() => speaking(language, () => { throw new Error('no'); })).toThrow('no');
  expect(spoken()).toBe(PLAIN_LANGUAGE);
});
