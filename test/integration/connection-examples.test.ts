/** The examples that say how a server is reached, in force at a gateway: servers of this machine stand in for those they name, and say what they were shown. */
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type MisbehavingHttp, type MisbehavingOptions, startMisbehaving } from '../fixtures/misbehaving/http.ts';
import { startSts, verifySigV4 } from '../fixtures/sigv4.ts';
import { startTokenEndpoint } from '../fixtures/token-endpoint.ts';
import { makeAuthority } from '../world/certificates.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { startProxy } from '../world/proxy.ts';
import { keySet, makeKey } from '../world/tokens.ts';
import { sendModern, textOf } from '../world/wire.ts';
import { startWorkloadApi, svidOf } from '../world/workload-api.ts';

const EXAMPLES = join(import.meta.dirname, '../../docs/examples');
const LOGIN = 'https://login.example.com';
const FILES = 'https://files.example.com/mcp';
/** The name that the examples pin. */
const PINNED = 'spiffe://internal/ns/tools/sa/files';
const REGION = 'eu-central-1';
const ISSUED = 'urn:ietf:params:oauth:token-type:';
/** What the examples take from the environment of their readers. */
const ENV = { FILES_KEY: 'of-the-environment', SESSION_KEY: '5e'.repeat(32), GATEWAY_SECRET: 'of-the-environment' };

const authority = makeAuthority();
const key = await makeKey();
let folder: string;
let port: number;
let world: ParleyWorld;
/** The examples that were in force. */
const tried = new Set<string>();
const opened: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  [folder, port] = await Promise.all([mkdtemp(join(tmpdir(), 'parley-examples-')), freePort()]);
  world = await startParley({ config: { binds: [{ port, listeners: [] }] }, env: ENV });
});
/** Amazon's own libraries look at the environment of the process. */
beforeEach(() => {
  for (const name of Object.keys(process.env).filter((one) => one.startsWith('AWS_'))) vi.stubEnv(name, undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const close of opened.splice(0).toReversed()) await close();
});
afterAll(async () => {
  await world?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function serve(options: MisbehavingOptions): Promise<MisbehavingHttp> {
  const server = await startMisbehaving(options);
  opened.push(() => server.close());
  return server;
}

/** A login server: its keys, and tokens that say for whom and by whom they were asked for. */
async function logIn(): Promise<string> {
  const server = await startTokenEndpoint(({ path, form }) => {
    if (path === '/keys') return { body: keySet(key) };
    const what = [form.get('audience') ?? form.get('scope'), form.get('tenant'), form.get('actor_token')].filter((one) => one !== null).join('-');
    return { body: { access_token: `token-${what}`, token_type: 'Bearer', issued_token_type: form.get('requested_token_type') ?? `${ISSUED}access_token`, expires_in: 600 } };
  });
  opened.push(() => server.close());
  return server.url;
}

/** An example in force with others in place of those it names. */
async function force(file: string, standIns: Readonly<Record<string, string>>): Promise<void> {
  let text = (await readFile(join(EXAMPLES, file), 'utf8')).replace('port: 3000', `port: ${port}`);
  for (const [named, here] of Object.entries(standIns)) {
    expect(text).toContain(named);
    text = text.replaceAll(named, here);
  }
  await world.replace(text);
  tried.add(file);
}

/** One call, and the headers it reached the server with. */
async function called(server: MisbehavingHttp, headers: Record<string, string> = {}): Promise<MisbehavingHttp['seen'][number]['headers']> {
  const { json, text } = await sendModern(world.url, 'tools/call', { name: 'echo', headers, params: { arguments: { message: 'm' } } });
  expect(textOf(json) ?? text).toBe('m');
  return server.seen.at(-1)?.headers ?? {};
}

const nowS = (): number => Math.floor(Date.now() / 1000);
const tokenOf = async (iss: string): Promise<Record<string, string>> => ({ authorization: `Bearer ${await key.sign({ iss, aud: 'gateway', sub: 'ada', tenant: 'blue', team: 'red', exp: nowS() + 600 })}` });

test('backendAuth.yaml shows the server our key', async () => {
  const server = await serve({});
  await force('backendAuth.yaml', { [FILES]: server.url });
  expect((await called(server))['x-api-key']).toBe(ENV.FILES_KEY);
});

test('backendAuth-exchange.yaml shows the server a token of its own, for the caller and the agent that acts for them', async () => {
  const [server, login] = await Promise.all([serve({}), logIn()]);
  await force('backendAuth-exchange.yaml', { [FILES]: server.url, [LOGIN]: login });
  expect((await called(server, { ...(await tokenOf(login)), 'x-agent-token': 'agent' })).authorization).toBe('Bearer token-files-blue-agent');
});

test('backendAuth-cross-app.yaml shows the server a token of the company that runs it', async () => {
  const [server, login] = await Promise.all([serve({}), logIn()]);
  await force('backendAuth-cross-app.yaml', { 'host: https://login.files.example.com': `host: ${login}`, [`host: ${LOGIN}`]: `host: ${login}`, [`host: ${FILES}`]: `host: ${server.url}` });
  expect((await called(server, await tokenOf(login))).authorization).toBe('Bearer token-files.read');
});

test('backendAuth-aws.yaml signs each request with keys of the role that was assumed', async () => {
  const own = new Map([['AKIAOWN', { secret: 'own' }]]);
  const [sts, login] = await Promise.all([startSts(own, { region: REGION }), logIn()]);
  opened.push(() => sts.close());
  vi.stubEnv('AWS_ENDPOINT_URL_STS', sts.url).stubEnv('AWS_ACCESS_KEY_ID', 'AKIAOWN').stubEnv('AWS_SECRET_ACCESS_KEY', 'own');
  const server = await serve({ admits: (request, body) => verifySigV4(request, body, { keys: sts.given, region: REGION, service: 'bedrock-agentcore' }) === 'good' });
  await force('backendAuth-aws.yaml', { 'https://gateway-id.gateway.bedrock-agentcore.eu-central-1.amazonaws.com/mcp': server.url, [LOGIN]: login });
  await called(server, await tokenOf(login));
  expect(Object.fromEntries(sts.asked[0] ?? [])).toMatchObject({ RoleArn: 'arn:aws:iam::123456789012:role/agents', RoleSessionName: 'ada', 'Tags.member.1.Value': 'red', 'Tags.member.2.Value': 'parley' });
});

test('backendTLS.yaml shows the server our certificate, and trusts the one it pins', async () => {
  const paths = { ca: join(folder, 'ca.pem'), cert: join(folder, 'connector.pem'), key: join(folder, 'connector.key') };
  const ours = authority.issue('connector');
  await Promise.all([writeFile(paths.ca, authority.ca), writeFile(paths.cert, ours.cert), writeFile(paths.key, ours.key)]);
  const server = await serve({ tls: { ...authority.issue('files', { dns: ['localhost'], uris: [PINNED] }), ca: authority.ca, requestCert: true, rejectUnauthorized: true } });
  await force('backendTLS.yaml', { 'files.internal': 'localhost', '8443': new URL(server.url).port, '/etc/parley/ca.pem': paths.ca, '/etc/parley/connector.pem': paths.cert, '/etc/parley/connector.key': paths.key });
  await called(server);
});

test('backendTLS-spiffe.yaml speaks as one workload to another', async () => {
  const agent = await startWorkloadApi(join(folder, 'agent.sock'), svidOf(authority, 'spiffe://internal/gateway'));
  opened.push(() => agent.stop());
  const server = await serve({ tls: { ...authority.issue('files', { uris: [PINNED] }), ca: authority.ca, requestCert: true, rejectUnauthorized: true } });
  await force('backendTLS-spiffe.yaml', { 'unix:///run/spire/agent.sock': agent.endpoint, 'files.internal': 'localhost', '8443': new URL(server.url).port });
  await called(server);
});

test('backendTunnel.yaml has a proxy connect us to the server, and tells it who asks', async () => {
  const [server, proxy] = await Promise.all([serve({}), startProxy()]);
  opened.push(() => proxy.close());
  await force('backendTunnel.yaml', { [FILES]: server.url, 'proxy.example.com:3128': proxy.host });
  await called(server);
  expect(proxy.seen[0]).toEqual({ authority: new URL(server.url).host, authorization: `Basic ${ENV.FILES_KEY}` });
});

test('no other example says how a server is reached', async () => {
  const files = await readdir(EXAMPLES);
  expect(files.filter((file) => /^backend[A-Z]/.test(file)).toSorted()).toEqual([...tried].toSorted());
});
