import { once } from 'node:events';
import { type Http2SecureServer, createSecureServer, createServer as createPlain } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Pool } from 'undici';
import type { Reaching } from '#protocol/config/callout.ts';
import { makeAuthority } from '../../test/world/certificates.ts';
import { type Proxy, startProxy } from '../../test/world/proxy.ts';
import { serverConnector } from './server-connector.ts';

const authority = makeAuthority();
const TLS = { root: undefined, cert: undefined, key: undefined, hostname: undefined, verify: 'nothing', alpn: undefined, subjectAltNames: undefined, keyExchangeGroups: undefined } as const;

let secured: Http2SecureServer;
let plain: ReturnType<typeof createPlain>;
let proxy: Proxy;
/** What the proxy answers. */
let status = 200;
const hostOf = (server: { address(): unknown }): string => `127.0.0.1:${(server.address() as AddressInfo).port}`;

beforeAll(async () => {
  const { cert, key } = authority.issue('server');
  secured = createSecureServer({ cert, key, allowHTTP1: true }, ({ httpVersion }, response) => void response.end(httpVersion)).listen(0, '127.0.0.1');
  plain = createPlain(({ httpVersion }, response) => void response.end(httpVersion)).listen(0, '127.0.0.1');
  [proxy] = await Promise.all([startProxy(() => status), once(secured, 'listening'), once(plain, 'listening')]);
});
afterAll(async () => {
  await proxy?.close();
  secured?.close();
  plain?.close();
});

/** The version of HTTP that the server was asked in. */
async function versionOf(origin: string, reaching: Reaching): Promise<string> {
  const pool = new Pool(origin, { connect: serverConnector(reaching, { target: 'files', timeoutMs: 2_000, proxyAuthorization: () => 'Basic planted' }) });
  try {
    const { body } = await pool.request({ method: 'GET', path: '/' });
    return await body.text();
  } finally {
    await pool.destroy();
  }
}

const tunnel = (): Pick<Reaching, 'tunnel'> => ({ tunnel: { origins: [`http://${proxy.host}`] } });

describe.each([['directly', () => ({})], ['by way of a proxy', tunnel]])('a server that is reached %s', (_, way) => {
  test.each<[Reaching['version'], string]>([[undefined, '2.0'], [1, '1.1'], [2, '2.0']])('over TLS, in version %s, is asked in HTTP/%s, the newest it has', async (version, spoken) => {
    expect(await versionOf(`https://${hostOf(secured)}`, { tls: TLS, version, ...way() })).toBe(spoken);
  });

  test('without TLS may be asked in HTTP/2', async () => {
    expect(await versionOf(`http://${hostOf(plain)}`, { version: 2, ...way() })).toBe('2.0');
  });
});

describe('a proxy', () => {
  test('is told where to, and who asks', async () => {
    await versionOf(`https://${hostOf(secured)}`, { tls: TLS, ...tunnel() });
    expect(proxy.seen.at(-1)).toEqual({ authority: hostOf(secured), authorization: 'Basic planted' });
  });

  test('that does not connect, or is not there, is named', async () => {
    status = 407;
    await expect(versionOf(`http://${hostOf(plain)}`, { version: 2, ...tunnel() })).rejects.toMatchObject({ code: 'upstream', message: `files: backendTunnel: the proxy at http://${proxy.host} answered HTTP 407 to CONNECT` });
    status = 200;
    await expect(versionOf(`http://${hostOf(plain)}`, { version: 2, tunnel: { origins: ['http://127.0.0.1:1'] } })).rejects.toMatchObject({ message: expect.stringContaining('the proxy at http://127.0.0.1:1 cannot be used: ECONNREFUSED') });
  });
});
