/**
 * A gateway of four processes with every kind of credential, used well and badly by clients of both eras, while everything
 * it writes and says is kept: no secret is in it. Not even where a program of somebody else's prints what it read from a file,
 * or was given by a token endpoint, as we did; or where an authorizer answers ingress with what ingress has read itself.
 */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { type Sts, startSts } from '../fixtures/sigv4.ts';
import { startTokenEndpoint, type IssuingEndpoint } from '../fixtures/token-endpoint.ts';
import { type GrpcAuthorizer, startGrpcAuthorizer } from '../world/authorizer.ts';
import { makeAuthority } from '../world/certificates.ts';
import { startCommand, type Command } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callOf, initializeOf, note, send, sendModern, textOf } from '../world/wire.ts';

const PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const ACCOUNT_KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
/** In files that ingress reads. */
const LISTENER = makeAuthority().issue('gateway', { dns: ['localhost'] });
const HASH = `{SHA}${createHash('sha1').update('of-nobody').digest('base64')}`;
const MARK = 'kept-to-itself';
const SESSION_KEY = '5e'.repeat(32);

/** For services that speak to servers or judge how they do. */
const SECRETS = { A_KEY: `${MARK}-a`, B_KEY: `${MARK}-b`, C_KEY: `${MARK}-c`, CLIENT_SECRET: `${MARK}-client`, SIGNING_KEY: PEM };
/** Text that would be a leak: whole, and as the wire of the bus would encode it. */
const FORBIDDEN = [MARK, SESSION_KEY, HASH, ...[PEM, ACCOUNT_KEY, LISTENER.key].map((pem) => pem.split('\n')[1] as string)];

let nats: NatsWorld;
let folder: string;
let connection: NatsConnection;
let server: MisbehavingHttp;
let endpoint: IssuingEndpoint;
let sts: Sts;
let authorizer: GrpcAuthorizer;
let url: string;
const running: Command[] = [];
/** Everything that was said on NATS. */
const heard: string[] = [];
/** Everything clients were answered. */
const answered: string[] = [];

const target = (backendAuth: object): object => ({ name: 'files', mcp: { host: server.url }, policies: { backendAuth } });
const ROUTES = (): Record<string, object> => ({
  key: { key: '$A_KEY' },
  written: { key: `${MARK}-written` },
  places: { credentials: [{ location: { queryParameter: { name: 'k' } }, key: '$B_KEY' }, { location: { cookie: { name: 'k' } }, key: '$C_KEY' }] },
  file: { key: { file: join(folder, 'key.txt') } },
  signed: { jwtSign: { signingKey: '$SIGNING_KEY', alg: 'ES256' } },
  passthrough: { passthrough: {} },
  exchange: { oauthTokenExchange: { host: endpoint.url, path: '/good', clientAuth: { clientId: 'c', clientSecret: '$CLIENT_SECRET' } } },
  refused: { oauthTokenExchange: { host: endpoint.url, path: '/bad', clientAuth: { clientId: 'c', clientSecret: '$CLIENT_SECRET', method: 'clientSecretPost' } } },
  google: { gcp: { credential: { file: join(folder, 'account.json') } } },
  aws: { aws: { region: 'eu-test-1', assumeRole: { roleArn: 'arn:aws:iam::123456789012:role/files' } } },
  unusable: { jwtSign: { signingKey: '$A_KEY' } },
});
/** On its standard error, which is logged. */
const TELLING = `
import { createInterface } from 'node:readline';
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line);
  if (method === 'tools/call') console.error('telling ${MARK}-file ${MARK}-issued ${MARK}-assumed and ${MARK}-session');
  const result = method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'telling', version: '1' } } : { content: [] };
  if (id !== undefined) console.log(JSON.stringify(method === 'server/discover' ? { jsonrpc: '2.0', id, error: { code: -32601, message: 'unknown' } } : { jsonrpc: '2.0', id, result }));
});
`;
const FAIL: ReadonlySet<string> = new Set(['refused', 'unusable']);

beforeAll(async () => {
  [nats, folder, server, sts, authorizer, endpoint] = await Promise.all([
    startNats(),
    mkdtemp(join(tmpdir(), 'parley-planted-')),
    startMisbehaving({}),
    startSts(new Map([['AKIAPLANTED', { secret: `${MARK}-aws` }]]), { give: { secret: `${MARK}-assumed`, session: `${MARK}-session` } }),
    startGrpcAuthorizer(() => ({ code: 2, details: `told: ${HASH} ${LISTENER.key.split('\n')[1]}` })),
    startTokenEndpoint(({ path, form }) => {
      if (path === '/bad') return { status: 400, body: { error: 'invalid_grant', error_description: form.toString() } };
      return { body: { access_token: `${MARK}-issued`, expires_in: 3600 } };
    }),
  ]);
  connection = await connect({ servers: nats.url });
  connection.subscribe('>', {
    callback: (_, { subject, headers, data }) => void heard.push(`${subject} ${String(headers ?? '')} ${Buffer.from(data).toString('utf8')}`),
  });
  await connection.flush();
  await writeFile(join(folder, 'key.txt'), `${MARK}-file`);
  await writeFile(join(folder, 'account.json'), JSON.stringify({ type: 'service_account', client_email: 'a@b', private_key: ACCOUNT_KEY, token_uri: `${endpoint.url}/google` }));
  const port = await freePort();
  const routes = Object.entries(ROUTES()).map(([name, auth]) => ({ name, matches: [{ path: { exact: `/${name}` } }], backends: [{ mcp: { targets: [target(auth)] } }] }));
  await writeFile(join(folder, 'telling.mjs'), TELLING);
  const telling = { name: 'telling', stdio: { cmd: process.execPath, args: [join(folder, 'telling.mjs')] } };
  routes.push({ name: 'telling', matches: [{ path: { exact: '/telling' } }], backends: [{ mcp: { targets: [telling] } }] });
  const judged = { basicAuth: { htpasswd: { file: join(folder, 'htpasswd') } }, extAuthz: { host: authorizer.host } };
  const secured = { tls: { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }, routes: [] };
  await Promise.all([writeFile(join(folder, 'htpasswd'), `nobody:${HASH}\n`), writeFile(join(folder, 'cert.pem'), LISTENER.cert), writeFile(join(folder, 'key.pem'), LISTENER.key)]);
  const file = join(folder, 'config.yaml');
  await writeFile(file, stringify({ config: { session: { key: '$SESSION_KEY' } }, binds: [{ port, listeners: [{ routes: [...routes, { ...routes[0], name: 'judged', matches: [{ path: { exact: '/judged' } }], policies: judged }] }] }, { port: await freePort(), listeners: [secured] }] }));
  url = `http://127.0.0.1:${port}`;
  const all = { NATS_URL: nats.url, PARLEY_LOG_LEVEL: 'trace' };
  // Who needs no secret has none, and starts all the same.
  const policy = startCommand(['run', 'policy', '-f', file], { ...all, ...SECRETS, SESSION_KEY });
  running.push(policy);
  // The others are ready without a configuration, too: they find it there.
  await policy.line(/^ready after/);
  running.push(startCommand(['run', 'session'], all));
  running.push(startCommand(['run', 'connector'], { ...all, ...SECRETS, SESSION_KEY, AWS_ACCESS_KEY_ID: 'AKIAPLANTED', AWS_SECRET_ACCESS_KEY: `${MARK}-aws`, AWS_ENDPOINT_URL_STS: sts.url, AWS_CONFIG_FILE: join(folder, 'none') }));
  running.push(startCommand(['run', 'ingress'], { ...all, SESSION_KEY }));
  await Promise.all(running.map((command) => command.line(/^ready after/)));
});
afterAll(async () => {
  await Promise.all(running.map((command) => command.stop()));
  await connection?.close();
  await Promise.all([nats?.stop(), server?.close(), sts?.close(), authorizer?.close(), endpoint?.close(), rm(folder, { recursive: true, force: true })]);
});

const headers = { authorization: `Bearer ${MARK}-caller` };

/** A call in each era; what the tool says, or undefined. */
async function use(name: string): Promise<(string | undefined)[]> {
  const at = `${url}/${name}`;
  const modern = await sendModern(at, 'tools/call', { name: 'echo', headers, params: { arguments: { message: 'm' } } });
  const opened = await send(at, { headers, body: initializeOf() });
  const own = { ...headers, 'mcp-session-id': String(opened.headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
  await send(at, { headers: own, body: note('notifications/initialized') });
  const legacy = await send(at, { headers: own, body: callOf('echo', { message: 'm' }) });
  const ended = await send(at, { method: 'DELETE', headers: own });
  answered.push(...[modern, opened, legacy, ended].map(({ text, headers: got }) => `${text} ${JSON.stringify(got)}`));
  return [textOf(modern.json), textOf(legacy.json)];
}

test('no secret is in what is logged, audited, stored, said on the bus or answered', async () => {
  for (const name of Object.keys(ROUTES())) expect([name, await use(name)]).toEqual([name, FAIL.has(name) ? [undefined, undefined] : ['m', 'm']]);
  const shown = JSON.stringify(server.seen.map(({ headers: got, path }) => [got, path]));
  expect(sts.asked.length).toBeGreaterThan(0);
  for (const secret of ['a', 'b', 'c', 'written', 'file', 'caller', 'issued', 'session']) expect(shown).toContain(`${MARK}-${secret}`);
  await eventually('audit events of all kinds', () => (heard.some((text) => text.includes('call_failed')) && heard.some((text) => text.includes('call_completed')) ? true : undefined));

  await use('telling');
  await running[2]?.line(/telling \[redacted\] \[redacted\] \[redacted\] and \[redacted\]/);

  expect(await use('judged')).toEqual([undefined, undefined]);
  await running[3]?.line(/told: \[redacted\] \[redacted\]/);

  // A wrong file is refused, with its words in the log; the good one stays.
  await writeFile(join(folder, 'config.yaml'), stringify({ mcp: { targets: [target({ key: '$A_KEY', passthrough: {} })] } }));
  await running[0]?.line(/only one of key, passthrough may be given/);

  await connection.flush();
  const logged = (await Promise.all(running.map((command) => command.stop()))).flatMap(({ stdout, stderr }) => `${stdout}\n${stderr}`.split('\n'));
  expect([heard.some((text) => text.startsWith('$KV.')), heard.some((text) => text.includes('parley.connector.call.')), logged.length > 40, answered.length > 30]).toEqual([true, true, true, true]);
  for (const [where, texts] of Object.entries({ heard, logged, answered })) {
    expect([where, texts.filter((text) => FORBIDDEN.some((secret) => text.includes(secret))).map((text) => text.slice(0, 500))]).toEqual([where, []]);
  }
});
