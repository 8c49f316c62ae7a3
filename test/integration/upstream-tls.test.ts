/** Servers over TLS that look at what they are shown, and files that are not what they should be. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BackendTls } from '#protocol/config/backend-tls.ts';
import { type MisbehavingHttp, startMisbehaving } from '../fixtures/misbehaving/http.ts';
import { type Certificates, makeCertificates } from '../world/certificates.ts';
import { startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callModern, openLegacy, sendModern } from '../world/wire.ts';
import { HttpEndpoint } from '../../services/connector/runtime/targets/http-endpoint.ts';
import { urisOf } from '#host/certificate-names.ts';

const NOTHING: BackendTls = {
  root: undefined, cert: undefined, key: undefined, hostname: undefined, verify: 'all', alpn: undefined, subjectAltNames: undefined, keyExchangeGroups: undefined,
};

let folder: string;
let files: Certificates;
let server: MisbehavingHttp;
let demanding: MisbehavingHttp;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-tls-'));
  files = await makeCertificates(folder);
  const [cert, key, ca] = await Promise.all([files.serverCert, files.serverKey, files.ca].map((path) => readFile(path)));
  [server, demanding] = await Promise.all([
    startMisbehaving({ tls: { cert, key } as object }),
    startMisbehaving({ tls: { cert, key, ca, requestCert: true, rejectUnauthorized: true } as object }),
  ]);
});
afterAll(async () => {
  await Promise.all([server?.close(), demanding?.close()]);
  await rm(folder, { recursive: true, force: true });
});

/** What comes of one request over a connection of its own. */
async function reach(tls: Partial<BackendTls>, { url } = server): Promise<string> {
  const endpoint = new HttpEndpoint({ name: 'files', url, tls: { ...NOTHING, ...tls } });
  const came = await once(endpoint);
  await endpoint.close();
  return came;
}

async function once(endpoint: HttpEndpoint): Promise<string> {
  try {
    const answer = await endpoint.send({ method: 'DELETE', headers: {}, deadline: Number.MAX_SAFE_INTEGER });
    return answer.kind;
  } catch (error) {
    return (error as Error).message;
  }
}

describe('a server over TLS', () => {
  test('is trusted by the authority that is named, and by no other', async () => {
    expect(await reach({ root: files.ca })).toBe('accepted');
    expect(await reach({})).toMatch(/^files at https:\/\/127\.0\.0\.1:\d+ cannot be used: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY)$/);
    expect(await reach({ verify: 'nothing' })).toBe('accepted');
  });

  test('must be who it is called: the host of the URL, or the hostname that is written', async () => {
    expect(await reach({ root: files.ca, hostname: 'localhost' })).toBe('accepted');
    expect(await reach({ root: files.ca, hostname: 'other.test' })).toMatch(/cannot be used: ERR_TLS_CERT_ALTNAME_INVALID$/);
    expect(await reach({ root: files.ca, hostname: 'other.test', verify: 'chain' })).toBe('accepted');
    expect(await reach({ verify: 'chain' })).toMatch(/cannot be used: UNABLE_TO/);
  });

  test('must have one of the names that are pinned, and then needs no other', async () => {
    expect(await reach({ root: files.ca, hostname: 'other.test', subjectAltNames: ['no.test', 'localhost'] })).toBe('accepted');
    expect(await reach({ root: files.ca, subjectAltNames: ['127.0.0.1'] })).toBe('accepted');
    expect(await reach({ root: files.ca, subjectAltNames: ['no.test', 'spiffe://td/ns/a'] })).toMatch(/cannot be used: ERR_TLS_CERT_ALTNAME_INVALID$/);
  });

  test('that asks for a certificate is shown ours', async () => {
    expect(await reach({ root: files.ca }, demanding)).toMatch(/cannot be used/);
    expect(await reach({ root: files.ca, cert: files.clientCert, key: files.clientKey }, demanding)).toBe('accepted');
  });

  test('is reached with the protocols and groups that are named', async () => {
    expect(await reach({ root: files.ca, alpn: ['http/1.1'], keyExchangeGroups: ['P-384', 'X25519_MLKEM768'] })).toBe('accepted');
    expect(await reach({ root: files.ca, alpn: ['h2', 'http/1.1'], keyExchangeGroups: ['X25519', 'P-256'] })).toBe('accepted');
  });
});

describe('a file that backendTLS names', () => {
  test('and nobody can read is an error that names target, key and file', async () => {
    const gone = join(folder, 'gone.pem');
    expect(await reach({ root: gone })).toBe(`files: backendTLS.root: the file ${gone} cannot be read: there is no such file`);
    expect(await reach({ root: files.ca, cert: files.clientCert, key: gone })).toBe(`files: backendTLS.key: the file ${gone} cannot be read: there is no such file`);
  });

  test('and holds something else is an error that does not quote it', async () => {
    const text = join(folder, 'text.pem');
    await writeFile(text, 'planted');
    expect(await reach({ root: text })).toBe(`files: backendTLS.root: the file ${text} holds no certificate that can be read`);
    expect(await reach({ cert: text, key: files.clientKey })).toBe(`files: backendTLS.cert: the file ${text} holds no certificate that can be read`);
    for (const key of [text, files.serverKey]) expect(await reach({ cert: files.clientCert, key })).toBe(`files: backendTLS.key: the file ${key} holds no private key of the certificate that can be used`);
  });

  test('counts as it is when a connection is made', async () => {
    const root = join(folder, 'root.pem');
    await writeFile(root, 'not yet');
    const endpoint = new HttpEndpoint({ name: 'files', url: server.url, tls: { ...NOTHING, root } });
    expect(await once(endpoint)).toContain('holds no certificate');
    await copyFile(files.ca, root);
    expect(await once(endpoint)).toBe('accepted');
    await endpoint.close();
  });
});

test('URIs among the names of a certificate are found as node writes them', () => {
  expect(urisOf('DNS:a, URI:spiffe://td/ns/foo/sa/bar, IP Address:127.0.0.1')).toEqual(['spiffe://td/ns/foo/sa/bar']);
  expect(urisOf('URI:"spiffe://td/a, URI:spiffe://other", DNS:b')).toEqual(['spiffe://td/a, URI:spiffe://other']);
  expect(urisOf('DNS:"a, URI:spiffe://other"')).toEqual([]);
});

test('clients of both eras reach a server that asks for our certificate; one whose files are wrong fails alone, in words', async () => {
  const gone = join(folder, 'gone.pem');
  const shown = { root: files.ca, cert: files.clientCert, key: files.clientKey };
  const route = (path: string, policies: object): object => ({ name: path.slice(1), matches: [{ path: { exact: path } }], policies, backends: [{ backend: 'files' }] });
  const backends = [{ name: 'files', mcp: { targets: [{ name: 'files', mcp: { host: demanding.url } }] } }];
  const routes = [route('/good', { backendTLS: shown }), route('/bad', { backendTLS: { ...shown, root: gone } }), route('/bare', {})];
  const parley = await startParley({ config: { backends, binds: [{ port: await freePort(), listeners: [{ routes }] }] } });
  const at = (path: string): string => new URL(path, parley.url).href;
  try {
    expect(await (await openLegacy(at('/good'))).call('echo', { message: 'well' })).toBe('well');
    expect(await callModern(at('/good'), 'echo', { message: 'too' })).toBe('too');
    const words = `files: backendTLS.root: the file ${gone} cannot be read: there is no such file`;
    expect((await sendModern(at('/bad'), 'tools/call', { name: 'echo' })).json?.error).toEqual({ code: -32_603, message: words });
    await expect(openLegacy(at('/bad'))).rejects.toThrow(words);
    expect((await sendModern(at('/bare'), 'tools/call', { name: 'echo' })).json?.error?.message).toMatch(/cannot be used/);
    expect(await callModern(at('/good'), 'echo', { message: 'still' })).toBe('still');
  } finally {
    await parley.stop();
  }
});
