/** Accounts that are not Google's own, at endpoints that verify what they get. */
import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { SignJWT, jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { googleToken } from '#protocol/config/google-token.ts';
import { Secret } from '#protocol/config/secret.ts';
import { verifySigV4 } from '../../../../test/fixtures/sigv4.ts';
import { type IssuingEndpoint, type TokenReply, type TokenRequest, startTokenEndpoint } from '../../../../test/fixtures/token-endpoint.ts';
import { makeAuthority } from '../../../../test/world/certificates.ts';
import { GoogleCredential } from './google-credential.ts';
import type { Outgoing } from './outgoing.ts';

const AUDIENCE = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q';
const ALLOWED = { GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES: '1' };
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const authority = makeAuthority();

let folder: string;
const opened: (() => Promise<void>)[] = [];
const learned: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-google-'));
});
beforeEach(() => void learned.splice(0));
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const close of opened.splice(0).toReversed()) await close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function endpointOf(answer: (request: TokenRequest) => Promise<TokenReply>, tls?: object): Promise<IssuingEndpoint> {
  const endpoint = await startTokenEndpoint(answer, tls);
  opened.push(() => endpoint.close());
  return endpoint;
}

/** What a request is sent with. */
async function shown(account: object, { audience, ...env }: Record<string, string> = {}): Promise<string | undefined> {
  const written = audience === undefined ? {} : { type: 'idToken' as const, audience };
  const surroundings = { target: 'files', url: new URL('https://files.test/'), env, learn: (text: string) => void learned.push(text) };
  const credential = new GoogleCredential(googleToken({ ...written, credential: { secret: new Secret(JSON.stringify(account)) } }), surroundings);
  opened.push(() => credential.close());
  const outgoing: Outgoing = { method: 'GET', path: '/', headers: {}, body: undefined };
  await credential.add(outgoing);
  return outgoing.headers['authorization'];
}

const external = ({ url }: IssuingEndpoint, source: object, type = 'urn:ietf:params:oauth:token-type:jwt'): object => ({ type: 'external_account', audience: AUDIENCE, subject_token_type: type, token_url: `${url}/sts`, credential_source: source });
const save = async (name: string, text: string): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};

describe('an account whose token a program gives', () => {
  const subject = (): Promise<string> => new SignJWT({ sub: 'pod' }).setProtectedHeader({ alg: 'ES256' }).setAudience(AUDIENCE).sign(privateKey);
  const answered = (more: object): object => ({ version: 1, success: true, token_type: 'urn:ietf:params:oauth:token-type:id_token', ...more });
  const soon = (): number => Date.now() / 1000 + 60;
  const sts = (): Promise<IssuingEndpoint> =>
    endpointOf(async ({ form }) => {
      await jwtVerify(form.get('subject_token') ?? '', publicKey, { audience: AUDIENCE });
      return { body: { access_token: 'federated', expires_in: 3600 } };
    });

  /** It prints the answer if it is told what programs are told, in arguments and variables. */
  async function program(answer: object, more: object = {}): Promise<object> {
    const file = await save(`${crypto.randomUUID()}.mjs`, `const { GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE: a, GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE: t, GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE: i } = process.env;
      if (a !== ${JSON.stringify(AUDIENCE)} || t === undefined || i !== '0' || process.argv[2] !== 'a b') process.exit(1);
      console.error('planted');
      console.log(${JSON.stringify(JSON.stringify(answer))});`);
    return { executable: { command: `${process.execPath} ${file} "a b"`, ...more } };
  }

  test('has it where programs are allowed', async () => {
    const token = await subject();
    expect(await shown(external(await sts(), await program(answered({ id_token: token, expiration_time: soon() }))), ALLOWED)).toBe('Bearer federated');
    expect(learned).toEqual([token, 'federated', 'federated']);
  });

  test('has the one that the program gave before, until that ends', async () => {
    const endpoint = await sts();
    const kept = await save('kept.json', JSON.stringify(answered({ id_token: await subject(), expiration_time: soon() })));
    expect(await shown(external(endpoint, { executable: { command: '/nowhere/program', output_file: kept } }), ALLOWED)).toBe('Bearer federated');
    for (const expiration_time of [1, undefined]) {
      await save('kept.json', JSON.stringify(answered({ id_token: 'ended', expiration_time })));
      expect(await shown(external(endpoint, await program(answered({ id_token: await subject() }), { output_file: kept })), ALLOWED)).toBe('Bearer federated');
    }
  });

  test.each<[string, () => Promise<object>, Record<string, string>]>([
    [': set GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1 where the connector runs, if that may be run', () => program({}), {}],
    [' that gave no token that is good now', () => program({ version: 1, success: false, code: '401', message: 'planted' }), ALLOWED],
    [' that gave no token that is good now', () => program(answered({ id_token: 'planted', expiration_time: 1 })), ALLOWED],
    [' that failed', async () => ({ executable: { command: `${process.execPath} /nowhere/planted.mjs` } }), ALLOWED],
    [' that is not there where the connector runs', async () => ({ executable: { command: '/nowhere/program' } }), ALLOWED],
  ])('has none, in words, where credential_source names a program%s', async (words, source, env) => {
    const endpoint = await sts();
    await expect(shown(external(endpoint, await source()), env)).rejects.toMatchObject({ code: 'upstream', message: `files: backendAuth.gcp.credential: credential_source names a program${words}` });
    expect([endpoint.seen, learned]).toEqual([[], []]);
  });

  test.each([[4_999], [120_001]])('is refused with %d ms for the program', async (timeout_millis) => {
    await expect(shown(external(await sts(), { executable: { command: 'x', timeout_millis } }), ALLOWED)).rejects.toThrow('expected the JSON of');
  });
});

test('an account of AWS shows a request for who it is, signed by the machine for the audience', async () => {
  const endpoint = await endpointOf(async ({ form }) => {
    const { url, method, headers } = JSON.parse(decodeURIComponent(form.get('subject_token') ?? '')) as { url: string; method: string; headers: { key: string; value: string }[] };
    const signed = Object.fromEntries(headers.map(({ key, value }) => [key, value]));
    expect([url, signed['x-goog-cloud-target-resource'], Object.keys(signed).toSorted()]).toEqual([`https://sts.eu-test-1.amazonaws.com${query}`, AUDIENCE, ['authorization', 'host', 'x-amz-date', 'x-goog-cloud-target-resource']]);
    expect(signed['authorization']).toContain('x-goog-cloud-target-resource');
    expect(verifySigV4({ method, url: `/${query}`, headers: signed }, '', { keys: new Map([['AKIATEST', { secret: 'of-the-machine' }]]), region: 'eu-test-1', service: 'sts' })).toBe('good');
    return { body: { access_token: 'federated', expires_in: 3600 } };
  });
  const query = '?Action=GetCallerIdentity&Version=2011-06-15';
  const source = { environment_id: 'aws1', url: 'http://169.254.169.254/x', regional_cred_verification_url: `https://sts.{region}.amazonaws.com${query}` };
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIATEST');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'of-the-machine');
  expect(await shown(external(endpoint, source, 'urn:ietf:params:aws:token-type:aws4_request'), { AWS_REGION: 'eu-test-1' })).toBe('Bearer federated');
});

test('an account of a certificate shows its chain, over a connection that shows it, too', async () => {
  const { cert, key } = authority.issue('workload');
  const workload = { cert_path: await save('cert.pem', cert), key_path: await save('key.pem', key) };
  const der = (pem: string): string => new X509Certificate(pem).raw.toString('base64');
  const endpoint = await endpointOf(async ({ form }) => {
    expect(JSON.parse(form.get('subject_token') ?? '')).toEqual([der(cert), der(authority.ca)]);
    return { body: { access_token: 'federated', expires_in: 3600 } };
  }, { ...authority.issue('sts', { ipv4: ['127.0.0.1'] }), ca: authority.ca, requestCert: true, rejectUnauthorized: true });
  const certificate = { certificate_config_location: await save('certificates.json', JSON.stringify({ cert_configs: { workload } })), trust_chain_path: await save('chain.pem', `${cert}${authority.ca}`) };
  const trusted = getCACertificates('default');
  setDefaultCACertificates([...trusted, authority.ca]);
  opened.push(async () => setDefaultCACertificates(trusted));
  expect(await shown(external(endpoint, { certificate }, 'urn:ietf:params:oauth:token-type:mtls'))).toBe('Bearer federated');
  const nowhere = external(endpoint, { certificate: {} });
  await expect(shown(nowhere, { HOME: folder })).rejects.toThrow(`credential_source: the file ${join(folder, '.config', 'gcloud', 'certificate_config.json')} cannot be read`);
});

test('an account of a cloud of somebody else’s has tokens for an audience, from an endpoint of their authority', async () => {
  const who = 'system:serviceaccount:p:n';
  const endpoint = await endpointOf(async ({ body }) => {
    const { subject_token: token, ...asked } = JSON.parse(body) as Record<string, string>;
    expect(asked).toEqual({ grant_type: 'urn:ietf:params:oauth:token-type:token-exchange', audience: 'https://a.test', requested_token_type: 'urn:ietf:params:oauth:token-type:access_token', subject_token_type: 'urn:k8s:params:oauth:token-type:serviceaccount' });
    const { protectedHeader } = await jwtVerify(token ?? '', publicKey, { issuer: who, subject: who, audience: account.token_uri });
    expect(protectedHeader).toMatchObject({ alg: 'ES256', kid: 'k1' });
    return { body: { access_token: 'of-the-cloud', expires_in: 3600 } };
  }, authority.issue('identity', { ipv4: ['127.0.0.1'] }));
  const private_key = privateKey.export({ type: 'sec1', format: 'pem' });
  const account = { type: 'gdch_service_account', format_version: '1', project: 'p', name: 'n', private_key_id: 'k1', private_key, ca_cert_path: await save('cloud.pem', authority.ca), token_uri: `${endpoint.url}/authenticate` };
  expect(await shown(account, { audience: 'https://a.test' })).toBe('Bearer of-the-cloud');
  await expect(shown(account)).rejects.toThrow('files: backendAuth.gcp: a gdch_service_account has tokens for an audience: type: idToken');
});
