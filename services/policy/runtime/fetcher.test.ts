import { once } from 'node:events';
import { type RequestListener, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isInside, isPrivate, lookupPublic } from './addresses.ts';
import { ANSWER_BYTES_MAX, Fetcher } from './fetcher.ts';

let server: Server;
let origin: string;
let answer: RequestListener;
let paths: (string | undefined)[];
let fetcher: Fetcher;

beforeEach(async () => {
  paths = [];
  server = createServer((request, response) => {
    paths.push(request.url);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  fetcher = new Fetcher(500);
});
afterEach(async () => {
  await fetcher.close();
  server.closeAllConnections();
  server.close();
});

const redirect = (location: string): RequestListener => (_request, response) => void response.writeHead(302, { location }).end();

describe('a document', () => {
  test('is fetched', async () => {
    answer = (_request, response) => response.end('{}');
    expect(await fetcher.get(`${origin}/keys`)).toBe('{}');
  });

  test('is fetched where its origin redirects to, a few times', async () => {
    answer = (request, response) => (request.url === '/3' ? response.end('there') : redirect(`/${Number(request.url?.slice(1)) + 1}`)(request, response));
    expect(await fetcher.get(`${origin}/0`)).toBe('there');
    answer = (request, response) => (request.url === '/4' ? response.end('there') : redirect(`/${Number(request.url?.slice(1)) + 1}`)(request, response));
    await expect(fetcher.get(`${origin}/0`)).rejects.toMatchObject({ code: 'upstream', message: expect.stringContaining('redirects more than 3 times') });
  });

  test.each(['https://other.example/keys', 'http://169.254.169.254/latest/meta-data', 'http://localhost:1/keys', 'file:///etc/passwd', '//10.0.0.1/'])(
    'is not fetched from %s when its origin redirects there',
    async (location) => {
      answer = redirect(location);
      await expect(fetcher.get(`${origin}/keys`)).rejects.toMatchObject({ code: 'upstream', message: `${origin}/keys redirects to another origin` });
      expect(paths).toEqual(['/keys']);
    },
  );

  test('may be as large as the limit', async () => {
    answer = (_request, response) => response.end('x'.repeat(ANSWER_BYTES_MAX));
    expect((await fetcher.get(origin)).length).toBe(ANSWER_BYTES_MAX);
    answer = (_request, response) => response.end('x'.repeat(ANSWER_BYTES_MAX + 1));
    await expect(fetcher.get(origin)).rejects.toMatchObject({ code: 'upstream', message: expect.stringContaining('more than 262144 bytes') });
  });

  test('must come in time: its head, and all of it', async () => {
    answer = () => undefined;
    await expect(fetcher.get(origin)).rejects.toMatchObject({ code: 'timeout' });
    answer = (_request, response) => void response.writeHead(200).write('x');
    await expect(fetcher.get(origin)).rejects.toMatchObject({ code: 'timeout' });
  });

  test('is not what an error says, and what it says is told nobody', async () => {
    answer = (_request, response) => void response.writeHead(500).end('secret');
    await expect(fetcher.get(`${origin}/keys?token=x`)).rejects.toMatchObject({ code: 'upstream', message: `${origin}/keys answered 500` });
  });

  test('cannot be fetched from a server that is not there', async () => {
    server.close();
    await expect(fetcher.get(origin)).rejects.toMatchObject({ code: 'upstream', message: expect.stringContaining('ECONNREFUSED') });
  });

  test('is not fetched from an address of the inside that the operator did not write', async () => {
    await expect(fetcher.fetch({ url: origin, inside: false })).rejects.toMatchObject({ code: 'upstream', message: `${origin}/ is a private address` });
  });
});

test.each([
  ['10.1.2.3', true],
  ['127.0.0.1', true],
  ['169.254.169.254', true],
  ['172.31.255.255', true],
  ['172.32.0.0', false],
  ['192.168.0.1', true],
  ['100.64.0.1', true],
  ['8.8.8.8', false],
  ['::1', true],
  ['::', true],
  ['fd00::1', true],
  ['fe80::1', true],
  ['::ffff:10.0.0.1', true],
  ['::ffff:8.8.8.8', false],
  ['2606:4700::1111', false],
  ['no address', true],
])('the address %s is private: %s', (address, expected) => expect(isPrivate(address)).toBe(expected));

test.each([
  ['keycloak', true],
  ['localhost', true],
  ['idp.auth.svc.cluster.local', true],
  ['idp.corp.internal', true],
  ['[::1]', true],
  ['10.0.0.1', true],
  ['login.example.com', false],
  ['8.8.8.8', false],
])('the host %s is of the inside: %s', (host, expected) => expect(isInside(host)).toBe(expected));

test('a public name that leads to a private address is refused', async () => {
  const look = (all: boolean) => new Promise((resolve) => lookupPublic('localhost', { all }, (error) => resolve(error?.code)));
  expect([await look(true), await look(false)]).toEqual(['EPRIVATE', 'EPRIVATE']);
});
