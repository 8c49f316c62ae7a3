/** Requests that are signed for AWS, at servers and an STS that verify signatures by themselves. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Keys, type Sts, type StsOptions, errorOf, startSts, verifySigV4 } from '../fixtures/sigv4.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley } from '../world/parley.ts';
import { callModern, openLegacy, openStream, sendModern, textOf } from '../world/wire.ts';

const REGION = 'eu-test-1';
const OWN: ReadonlyMap<string, Keys> = new Map([['AKIAOWN', { secret: 'planted/secret+own' }]]);
const [[OWN_ID, OWN_KEYS]] = [...OWN] as [[string, Keys]];
const ROLE = 'arn:aws:iam::123456789012:role/files';

let nats: NatsWorld;
let folder: string;
const opened: (() => Promise<void>)[] = [];

beforeAll(async () => {
  [nats, folder] = await Promise.all([startNats(), mkdtemp(join(tmpdir(), 'parley-aws-'))]);
});
/** Amazon's own libraries look at the environment of the process: nothing of the machine the tests run on. */
beforeEach(() => {
  for (const name of Object.keys(process.env).filter((one) => one.startsWith('AWS_'))) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder, 'none'));
  vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'none'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const close of opened.splice(0).toReversed()) await close();
});
afterAll(async () => {
  await nats?.stop();
  await rm(folder, { recursive: true, force: true });
});

interface World {
  readonly url: string;
  readonly server: MisbehavingHttp;
  /** What the server found of each request. */
  readonly verdicts: string[];
}

interface WorldOptions {
  readonly keys?: ReadonlyMap<string, Keys>;
  readonly service?: string;
  readonly env?: Record<string, string>;
  readonly path?: string;
  readonly more?: object;
  readonly now?: () => number;
}

async function world(aws: object, { keys = OWN, service = 'execute-api', env = {}, path = '', more = {}, now = Date.now }: WorldOptions = {}): Promise<World> {
  const verdicts: string[] = [];
  const server = await startMisbehaving({
    admits: (request, body) => {
      verdicts.push(verifySigV4(request, body, { keys, region: REGION, service, now }));
      return verdicts.at(-1) === 'good';
    },
    ...(now === Date.now ? {} : { clock: now }),
  });
  opened.push(() => server.close());
  const targets = [{ name: 'files', mcp: { host: `${server.url}${path}` }, policies: { backendAuth: { aws: { serviceName: service, ...aws }, ...more } } }];
  const parley = await startParley({ nats, env, config: { mcp: { targets } } });
  opened.push(() => parley.stop());
  return { url: parley.url, server, verdicts };
}

async function sts(options: StsOptions = {}): Promise<Sts> {
  const one = await startSts(OWN, options);
  opened.push(() => one.close());
  vi.stubEnv('AWS_ENDPOINT_URL_STS', one.url);
  return one;
}

function ownKeys(): void {
  vi.stubEnv('AWS_ACCESS_KEY_ID', OWN_ID);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', OWN_KEYS.secret);
}

const WRITTEN = { accessKeyId: '$ID', secretAccessKey: '$SECRET', region: REGION };
const ENV = { ID: OWN_ID, SECRET: OWN_KEYS.secret };
const echo = (url: string, headers: Record<string, string> = {}, message = 'm') => sendModern(url, 'tools/call', { name: 'echo', headers, params: { arguments: { message } } });
const wordsOf = async (url: string): Promise<string | undefined> => (await echo(url)).json?.error?.message;

async function both(url: string): Promise<void> {
  const session = await openLegacy(url);
  expect(await session.call('echo', { message: 'legacy' })).toBe('legacy');
  expect((await session.end()).status).toBe(204);
  expect(await callModern(url, 'echo', { message: 'mödern' })).toBe('mödern');
}

describe('a request is signed', () => {
  test('with every body, method and header that counts, in both eras', async () => {
    const { url, server, verdicts } = await world(WRITTEN, { env: ENV });
    await both(url);
    const session = await openLegacy(url);
    const stream = await openStream(url, { headers: session.headers });
    await server.saw(({ http }) => http === 'GET');
    await stream.cut();
    expect(new Set(verdicts)).toEqual(new Set(['good']));
    expect(new Set(server.seen.map(({ http }) => http))).toEqual(new Set(['POST', 'GET', 'DELETE']));
  });

  test('with its path and its query, whatever stands in them, and with the credentials beside the signature', async () => {
    const credentials = [{ location: { queryParameter: { name: 'k y' } }, key: '$OTHER' }, { location: { header: { name: 'x-amz-other' } }, key: '$OTHER' }];
    const { url, verdicts, server } = await world(WRITTEN, { env: { ...ENV, OTHER: 'a+b /c~' }, path: '/a%2Fb/c%20d?z=1&a=%C3%A4+&a=0&b', more: { credentials } });
    expect(textOf((await echo(url)).json)).toBe('m');
    expect(new Set(verdicts)).toEqual(new Set(['good']));
    expect(server.seen[0]?.path).toBe('/mcp/a%2Fb/c%20d?z=1&a=%C3%A4+&a=0&b&k%20y=a%2Bb%20%2Fc~');
  });

  test('for bedrock unless another service is named, with keys of a session', async () => {
    const keys = new Map([[OWN_ID, { ...OWN_KEYS, session: 'planted-session==' }]]);
    const { url, verdicts } = await world({ ...WRITTEN, serviceName: null, sessionToken: '$SESSION' }, { keys, service: 'bedrock', env: { ...ENV, SESSION: 'planted-session==' } });
    expect(textOf((await echo(url)).json)).toBe('m');
    expect(new Set(verdicts)).toEqual(new Set(['good']));
  });

  test('and refused with a wrong key', async () => {
    const { url, verdicts } = await world(WRITTEN, { env: { ...ENV, SECRET: 'planted-wrong' } });
    await expect(openLegacy(url)).rejects.toThrow('files refused to initialize: who are you?');
    expect((await echo(url)).json?.result).toBeUndefined();
    expect(new Set(verdicts)).toEqual(new Set(['wrong signature']));
  });

  test.each([-3_600_000, 3_600_000])('for the time of a server whose clock is %d ms from ours, once it has said so', async (ms) => {
    const { url, verdicts } = await world(WRITTEN, { env: ENV, now: () => Date.now() + ms });
    expect(textOf((await echo(url)).json)).toBe('m');
    expect(textOf((await echo(url)).json)).toBe('m');
    expect([verdicts[0], verdicts.slice(1).every((verdict) => verdict === 'good')]).toEqual(['of another time', true]);
  });
});

describe('keys of where the connector runs', () => {
  test('are those of the environment, with its region', async () => {
    ownKeys();
    const { url } = await world({}, { env: { AWS_REGION: REGION } });
    await both(url);
  });

  test('are those of the shared files, with their region', async () => {
    await writeFile(join(folder, 'credentials'), `[work]\naws_access_key_id = ${OWN_ID}\naws_secret_access_key = ${OWN_KEYS.secret}\n`);
    await writeFile(join(folder, 'config'), `[profile work]\nregion = ${REGION}\n`);
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder, 'credentials'));
    vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'config'));
    vi.stubEnv('AWS_PROFILE', 'work');
    expect(textOf((await echo((await world({})).url)).json)).toBe('m');
  });

  test.each([
    ['a container', '/creds'],
    ['an instance', '/latest'],
  ])('are those of %s, asked for once', async (_, start) => {
    const seen: string[] = [];
    const { startTokenEndpoint } = await import('../fixtures/token-endpoint.ts');
    const body = { Code: 'Success', AccessKeyId: OWN_ID, SecretAccessKey: OWN_KEYS.secret, Token: 'planted-machine', Expiration: new Date(Date.now() + 3_600_000).toISOString() };
    const metadata = await startTokenEndpoint(({ method, path }) => {
      seen.push(`${method} ${path}`);
      if (path === '/latest/api/token') return { body: 'session' };
      return { body: path.endsWith('/security-credentials/') ? 'role' : body };
    });
    opened.push(() => metadata.close());
    if (start === '/creds') vi.stubEnv('AWS_CONTAINER_CREDENTIALS_FULL_URI', `${metadata.url}${start}`);
    else vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', metadata.url).stubEnv('AWS_EC2_METADATA_DISABLED', 'false');
    const { url } = await world({ region: REGION }, { keys: new Map([[OWN_ID, { ...OWN_KEYS, session: 'planted-machine' }]]) });
    await both(url);
    expect(seen.filter((one) => one.includes(start)).length).toBe(start === '/creds' ? 1 : 3);
  });

  test('are missed in words, as is the region, and then the server is not asked', async () => {
    const { url, server } = await world({ region: REGION });
    expect(await wordsOf(url)).toBe('files: backendAuth.aws: no credentials of AWS are to be had where the connector runs');
    expect(server.seen).toEqual([]);
    expect(await wordsOf((await world({})).url)).toBe('files: backendAuth.aws.region: there is none, and the environment of the connector names none (AWS_REGION)');
  });
});

describe('keys of a role', () => {
  const role = (more: object = {}): object => ({ region: REGION, assumeRole: { roleArn: ROLE, ...more } });

  test('are had from STS with keys of our own, once for all who ask at the same time', async () => {
    ownKeys();
    const { given, asked } = await sts();
    const { url, verdicts } = await world(role({ sessionName: 'gateway', tags: [{ key: 'Team', value: 'blue' }] }), { keys: given });
    expect((await Promise.all(['a', 'b', 'c'].map((message) => echo(url, {}, message)))).map(({ json }) => textOf(json))).toEqual(['a', 'b', 'c']);
    await both(url);
    expect(new Set(verdicts)).toEqual(new Set(['good']));
    expect(asked.map((form) => Object.fromEntries(form))).toEqual([
      { Action: 'AssumeRole', Version: '2011-06-15', RoleArn: ROLE, RoleSessionName: 'gateway', 'Tags.member.1.Key': 'Team', 'Tags.member.1.Value': 'blue' },
    ]);
  });

  test('are had anew before they end, and not used after, when STS is gone', async () => {
    ownKeys();
    const { given, asked, url: at, close } = await sts({ goodMs: 2_000 });
    const { url, server } = await world(role(), { keys: given });
    expect(textOf((await echo(url)).json)).toBe('m');
    await eventually('keys to be had anew', async () => (await echo(url)) && (asked.length > 1 || undefined));
    expect(asked[0]?.get('RoleSessionName')).toMatch(/^parley-[0-9a-f-]{36}$/);
    await close();
    opened.splice(0, 1);
    await eventually('the keys to end', async () => (await wordsOf(url)) === `files: backendAuth.aws.assumeRole: STS at ${at} cannot be used: ECONNREFUSED` || undefined);
    const from = server.seen.length;
    expect(await wordsOf(url)).toContain('ECONNREFUSED');
    expect(server.seen.length).toBe(from);
  });

  test('are each caller’s own where what STS is told depends on the call', async () => {
    ownKeys();
    const { given, asked } = await sts();
    const { url, server } = await world(role({ sessionName: { expression: '"u-" + request.headers["x-user"]' }, tags: [{ key: 'App', expression: 'request.headers["x-app"]' }] }), { keys: given });
    const ask = (user: string, app = 'one') => echo(url, { 'x-user': user, 'x-app': app }, user);
    for (const user of ['ann', 'bob', 'ann']) expect(textOf((await ask(user)).json)).toBe(user);
    expect(textOf((await ask('ann', 'two')).json)).toBe('ann');
    expect(asked.map((form) => [form.get('RoleSessionName'), form.get('Tags.member.1.Value')])).toEqual([['u-ann', 'one'], ['u-bob', 'one'], ['u-ann', 'two']]);
    const from = server.seen.length;
    expect((await ask('ann smith')).json?.error?.message).toBe('files: backendAuth.aws.assumeRole.sessionName: its expression makes a text that STS does not take');
    expect((await echo(url, { 'x-user': 'ann' })).json?.error?.message).toBe('files: backendAuth.aws.assumeRole.tags[0]: its expression makes no text of this call');
    expect([server.seen.length, asked.length]).toEqual([from, 3]);
  });

  test('are had though our clock is wrong', async () => {
    ownKeys();
    const ahead = () => Date.now() + 3_600_000;
    const { given, refused } = await sts({ now: ahead });
    const { url } = await world(role(), { keys: given, now: ahead });
    expect(textOf((await echo(url)).json)).toBe('m');
    expect(refused).toEqual(['of another time']);
  });

  test.each<[string, StsOptions['answer'], RegExp]>([
    ['refuses', (response) => void response.writeHead(403).end(errorOf('AccessDenied', 'planted')), /^STS at .* gave no credentials \(AccessDenied\)$/],
    ['says nothing of use', (response) => void response.end('<planted/>'), /^STS at .* gave no credentials/],
    ['says too much', (response) => void response.end('x'.repeat(70_000)), /^STS at .* cannot be used: its answer is larger than 65536 bytes$/],
    ['sends on elsewhere', (response) => void response.writeHead(307, { location: 'http://127.0.0.1:1/planted' }).end(), /^STS at .* gave no credentials/],
    ['is silent', () => undefined, /^STS at .* did not answer within 5000 ms$/],
  ])('that cannot be had end the call in words, and the server is not asked: STS %s', async (_, answer, words) => {
    ownKeys();
    const { url: at } = await sts(answer === undefined ? {} : { answer });
    const { url, server } = await world(role());
    const message = (await wordsOf(url))?.replace('files: backendAuth.aws.assumeRole: ', '') ?? '';
    expect(message).toMatch(words);
    expect([message.includes(at), message.includes('planted'), server.seen]).toEqual([true, false, []]);
  });

  test('that cannot be had since STS is not there end the call in words', async () => {
    ownKeys();
    const { url: at, close } = await sts();
    await close();
    opened.shift();
    const { url, server } = await world(role());
    expect(await wordsOf(url)).toBe(`files: backendAuth.aws.assumeRole: STS at ${at} cannot be used: ECONNREFUSED`);
    expect(server.seen).toEqual([]);
  });

  test('are refused to who shows STS a wrong key', async () => {
    ownKeys();
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'planted-wrong');
    const { refused } = await sts();
    const words = await wordsOf((await world(role())).url);
    expect(words).toMatch(/^files: backendAuth\.aws\.assumeRole: STS at .* gave no credentials \(InvalidClientTokenId\)$/);
    expect(new Set(refused)).toEqual(new Set(['wrong signature']));
  });
});
