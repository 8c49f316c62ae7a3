/**
 * One configuration as an operator brings it, with many policies at once before plain HTTP: logins by browser, a login proxy, an
 * authorizer that knows machines, tokens that are exchanged and signed, and a log line of each request that says who it was.
 */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type IssuingEndpoint, startTokenEndpoint } from '../fixtures/token-endpoint.ts';
import { type AuthorizationServerWorld, startAuthorizationServer } from '../world/authorization-server.ts';
import { type HttpAuthorizer, startHttpAuthorizer } from '../world/authorizer.ts';
import { Browser, locationOf } from '../world/browser.ts';
import { type Command, startCommand } from '../world/command.ts';
import { freePort } from '../world/port.ts';
import { forge, keySet, makeKey } from '../world/tokens.ts';
import { send } from '../world/wire.ts';

const SECRET = 'of the client, kept to itself';
const ENV = { OIDC_COOKIE_SECRET: 'c0'.repeat(32), CLIENT_SECRET: SECRET, SESSION_KEY: '5e'.repeat(32) };
const GET = { method: 'GET' } as const;
const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' });

let folder: string;
let origin: string;
let up: Command;
let login: AuthorizationServerWorld;
/** The application behind everything: what it is asked is remembered. */
let application: HttpAuthorizer;
let signIn: HttpAuthorizer;
let tokens: IssuingEndpoint;
let machines: Server;
let key: Awaited<ReturnType<typeof makeKey>>;

const nowS = (): number => Math.floor(Date.now() / 1000);
const hostOf = (url: string): string => new URL(url).host;
/** By a name, which then is what it is asked by. */
const named = ({ host }: HttpAuthorizer): string => host.replace('127.0.0.1', 'localhost');

beforeAll(async () => {
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  folder = await mkdtemp(join(tmpdir(), 'parley-whole-'));
  const client = { client_id: 'gateway', client_secret: SECRET, redirect_uris: [`${origin}/browser/callback`], grant_types: ['authorization_code'], response_types: ['code'] };
  [login, application, signIn, tokens, machines, key] = await Promise.all([
    startAuthorizationServer({ resource: 'https://nothing.test', clients: [client] }),
    startHttpAuthorizer(({ headers, path }, response) => void response.writeHead(200, { 'content-type': 'text/plain' }).end(`${path} at ${headers.host}`)),
    startHttpAuthorizer(signInPage),
    startTokenEndpoint(issue),
    listenAt(join(folder, 'whois.sock')),
    makeKey(),
  ]);
  const file = join(folder, 'config.yaml');
  await writeFile(file, stringify(configuration(port)));
  up = startCommand(['up', '--data', join(folder, 'data'), '-f', file], ENV);
  await up.line(/^ready after/);
});
afterAll(async () => {
  await up?.stop();
  await Promise.all([login?.close(), application?.close(), signIn?.close(), tokens?.close(), new Promise((done) => machines?.close(done))]);
  await rm(folder, { recursive: true, force: true });
});

/** Knows who has its cookie. */
function signInPage({ path, headers }: { readonly path: string; readonly headers: object }, response: Parameters<Parameters<typeof startHttpAuthorizer>[0]>[1]): void {
  const known = 'cookie' in headers && headers.cookie === 'signed-in=ada';
  if (path === '/sign-in/auth') response.writeHead(known ? 202 : 401, known ? { 'x-auth-user': 'ada' } : {}).end();
  else response.writeHead(200, { 'content-type': 'text/plain' }).end(`sign in, you at ${'host' in headers ? String(headers.host) : ''}`);
}

/** A token that says what it was asked for. */
const issue: Parameters<typeof startTokenEndpoint>[0] = ({ form }) => ({
  body: { access_token: forge({ alg: 'none' }, { sub: 'ada', aud: form.get('audience') ?? form.get('scope'), exp: nowS() + 600 }), token_type: 'Bearer', expires_in: 600, issued_token_type: form.get('requested_token_type') ?? undefined },
});

/** It answers on a socket, and only to those who call it by its name. */
async function listenAt(socket: string): Promise<Server> {
  const server = createServer(({ url = '', headers }, response) => {
    const node = url === '/whois?addr=127.0.0.1' && headers.host === 'machines.internal' ? 'laptop-of-ada' : undefined;
    response.writeHead(node === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify({ node: { name: node } }));
  });
  server.listen(socket);
  await once(server, 'listening');
  return server;
}

function configuration(port: number): object {
  const route = (name: string, policies: object, backend: object = { host: named(application) }) => ({ name, matches: [{ path: { pathPrefix: `/${name}` } }], policies, backends: [backend] });
  const exchange = (more: object) => ({ host: named(application), policies: { backendAuth: { oauthTokenExchange: { host: hostOf(tokens.url), path: '/token', clientAuth: { clientId: 'gateway', clientSecret: '$CLIENT_SECRET', method: 'clientSecretBasic' }, ...more } } } });
  const endpoint = { host: hostOf(tokens.url), path: '/token', clientAuth: { clientId: 'gateway', clientSecret: '$CLIENT_SECRET' } };
  return {
    config: { logging: { format: 'json' }, session: { key: '$SESSION_KEY' } },
    frontendPolicies: { accessLog: { add: { 'user.id': 'jwt.sub', 'login.user': 'extauthz.user', 'machine.name': 'extauthz.machine', 'exchange.audience': 'extauthz.audience' } } },
    binds: [{
      port,
      listeners: [{
        name: 'default',
        protocol: 'HTTP',
        routes: [
          route('browser', { oidc: { issuer: login.issuer, clientId: 'gateway', clientSecret: '$CLIENT_SECRET', redirectURI: `${origin}/browser/callback`, scopes: ['email'] } }),
          route('sign-in', { urlRewrite: { authority: 'none' } }, { host: named(signIn) }),
          route('proxied', {
            extAuthz: {
              host: signIn.host,
              includeRequestHeaders: ['cookie'],
              protocol: { http: { path: '"/sign-in/auth"', redirect: '"/sign-in/start?rd=" + request.path', metadata: { user: 'response.headers["x-auth-user"]' }, addRequestHeaders: { 'x-forwarded-host': 'request.host' }, includeResponseHeaders: ['x-auth-user'] } },
            },
          }),
          route('machine', {
            extAuthz: {
              host: `unix:${String(machines.address())}`,
              protocol: { http: { path: '"/whois?addr=" + source.address', addRequestHeaders: { ':authority': '"machines.internal"' }, metadata: { machine: 'json(response.body).node.name' } } },
            },
          }),
          route('by-authorizer', {
            extAuthz: {
              host: hostOf(tokens.url),
              cache: { key: ['request.headers["authorization"]'], ttl: 'extauthz.expires - 5', maxEntries: 16 },
              protocol: {
                http: {
                  path: '"/token"',
                  addRequestHeaders: { ':method': '"POST"', 'content-type': '"application/x-www-form-urlencoded"', authorization: '"Basic " + base64.encode("gateway:secret")' },
                  body: 'form.encode({"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": request.headers["authorization"].split(" ")[1], "audience": "files"})',
                  metadata: { token: 'json(response.body).access_token', audience: 'unvalidatedJwtPayload(json(response.body).access_token).aud', expires: 'unvalidatedJwtPayload(json(response.body).access_token).exp' },
                },
              },
            },
            transformations: { request: { set: { authorization: '"Bearer " + extauthz.token' } } },
          }),
          route('exchanged', {}, exchange({ audiences: ['files'] })),
          route('on-behalf', {}, exchange({ grantType: 'jwtBearer', scopes: ['files.read'], clientAuth: { clientId: 'gateway', clientSecret: '$CLIENT_SECRET', method: 'clientSecretPost' }, additionalParams: { requested_token_use: '"on_behalf_of"' } })),
          route('cross-app', {
            jwtAuth: { issuer: 'https://login.test', audiences: ['gateway'], jwks: keySet(key) },
            backendAuth: { crossAppAccess: { subjectToken: { source: { expression: 'jwt.rawToken.unredacted()' } }, identityProvider: endpoint, resourceAuthorizationServer: endpoint, audience: 'https://files.test', scopes: ['files.read'] } },
          }),
          route('signed', {
            backendAuth: { jwtSign: { signingKey: signing.privateKey.export({ type: 'pkcs8', format: 'pem' }), alg: 'ES256', kid: 'k1', claims: { iss: 'gateway', aud: 'files' }, ttl: '300s' } },
            requestHeaderModifier: { set: { 'x-token-type': 'KEYPAIR_JWT' } },
          }),
        ],
      }],
    }],
  };
}

/** What the application was asked last. */
const asked = () => application.seen.at(-1) ?? expect.fail('the application was not asked');
const logged = (route: string, name: string, value: string): Promise<string> => up.line(new RegExp(`"route":"${route}[^"]*".*"${name.replace('.', '[.]')}":"${value}"`));
const bearer = async (sub: string) => ({ authorization: `Bearer ${await key.sign({ iss: 'https://login.test', aud: 'gateway', sub, exp: nowS() + 600 })}` });

test('a person logs in by browser, reaches the page they wanted, and is named in the log', async () => {
  const browser = new Browser();
  const callback = await login.authorize(locationOf(await browser.open(`${origin}/browser/page?n=1`)));
  const back = locationOf(await browser.open(callback), origin);
  expect((await browser.open(back)).text).toBe(`/browser/page?n=1 at ${named(application)}`);
  expect(asked().headers.cookie).toBeUndefined();
  await logged('browser', 'user.id', 'ada');
});

describe('before a login proxy', () => {
  test('who is not signed in is sent there, and gets its page by the name the browser knows', async () => {
    const { pathname, searchParams } = locationOf(await send(`${origin}/proxied/page`, GET), origin);
    expect([pathname, searchParams.get('rd')]).toEqual(['/sign-in/start', '/proxied/page']);
    expect((await send(`${origin}/sign-in/start`, GET)).text).toBe(`sign in, you at ${new URL(origin).host}`);
  });

  test('who is signed in reaches the application, which is told who it is; so is the log', async () => {
    expect((await send(`${origin}/proxied/page`, { ...GET, headers: { cookie: 'signed-in=ada' } })).text).toBe(`/proxied/page at ${named(application)}`);
    expect(asked().headers['x-auth-user']).toBe('ada');
    await logged('proxied', 'login.user', 'ada');
  });
});

test('an authorizer on a socket is asked by the name it wants, and says which machine it is', async () => {
  expect((await send(`${origin}/machine`, GET)).status).toBe(200);
  await logged('machine', 'machine.name', 'laptop-of-ada');
});

test('a token that an authorizer exchanged takes the place of the one that came, and is asked for once', async () => {
  const headers = await bearer('ada');
  const before = tokens.seen.length;
  for (const _ of [1, 2]) expect((await send(`${origin}/by-authorizer`, { ...GET, headers })).status).toBe(200);
  expect(asked().headers.authorization).toMatch(/^Bearer /);
  expect(asked().headers.authorization).not.toBe(headers.authorization);
  expect(tokens.seen.slice(before).map(({ form }) => form.get('subject_token'))).toEqual([headers.authorization.slice('Bearer '.length)]);
  await logged('by-authorizer', 'exchange.audience', 'files');
});

test.each([
  ['exchanged', { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', audience: 'files' }],
  ['on-behalf', { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', scope: 'files.read', requested_token_use: 'on_behalf_of', client_id: 'gateway', client_secret: SECRET }],
  ['cross-app', { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', scope: 'files.read' }],
])('on the route %s the application gets a token made for it', async (name, form) => {
  const headers = await bearer('ada');
  expect((await send(`${origin}/${name}`, { ...GET, headers })).status).toBe(200);
  expect(Object.fromEntries(tokens.seen.at(-1)?.form ?? [])).toMatchObject(form);
  expect(asked().headers.authorization).toMatch(/^Bearer /);
  expect(asked().headers.authorization).not.toBe(headers.authorization);
});

test('a token we sign goes with the header that belongs to it', async () => {
  expect((await send(`${origin}/signed`, GET)).status).toBe(200);
  const { headers } = asked();
  expect(headers['x-token-type']).toBe('KEYPAIR_JWT');
  const { payload, protectedHeader } = await jwtVerify(headers.authorization?.replace('Bearer ', '') ?? '', signing.publicKey, { issuer: 'gateway', audience: 'files' });
  expect([protectedHeader.kid, (payload.exp ?? 0) - (payload.iat ?? 0)]).toEqual(['k1', 300]);
});
