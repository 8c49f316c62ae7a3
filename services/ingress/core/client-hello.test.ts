import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { CLIENT_HELLO_BYTES_MAX, serverNameIn } from './client-hello.ts';

/** What OpenSSL says first. */
async function helloOf(servername: string): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', servername });
  client.on('error', () => undefined);
  const [socket] = await once(server, 'connection');
  const [bytes] = await once(socket, 'data');
  client.destroy();
  server.close();
  return bytes as Buffer;
}

/** The same hello in records of so many bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const content = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < content.length; at += size) {
    const part = content.subarray(at, at + size);
    records.push(Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part]));
  }
  return Buffer.concat(records);
}

let hello: Buffer;
beforeAll(async () => {
  hello = await helloOf('a.example');
});

describe('the server name of a connection', () => {
  test('is found where OpenSSL puts it, and missing where it is not', async () => {
    expect(serverNameIn(hello)).toBe('a.example');
    expect(serverNameIn(await helloOf(''))).toBeUndefined();
  });

  test('is awaited until the last byte of the hello', () => {
    for (let length = 0; length < hello.length; length += 1) expect(serverNameIn(hello.subarray(0, length))).toBeNull();
  });

  test.each([1, 5, 100, 200])('is found in a hello of records of %d bytes', (size) => {
    const bytes = inRecords(hello, size);
    expect(serverNameIn(bytes)).toBe('a.example');
    expect(serverNameIn(bytes.subarray(0, -1))).toBeNull();
  });

  test('is not looked for in what is no hello', () => {
    expect(serverNameIn(Buffer.from('GET / HTTP/1.1\r\n'))).toBeUndefined();
    expect(serverNameIn(Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]))).toBeUndefined();
  });

  test('is given up on when the hello is too long', () => {
    const endless = Buffer.alloc(CLIENT_HELLO_BYTES_MAX, 0);
    Buffer.from([22, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff]).copy(endless);
    expect(serverNameIn(endless.subarray(0, -1))).toBeNull();
    expect(serverNameIn(endless)).toBeUndefined();
  });

  test('makes no trouble whatever the bytes are', () => {
    const result = (bytes: Uint8Array): boolean => ['string', 'undefined', 'object'].includes(typeof serverNameIn(Buffer.from(bytes)));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), result));
    fc.assert(
      fc.property(fc.nat(hello.length - 1), fc.nat(255), (at, value) => {
        const damaged = Buffer.from(hello);
        damaged[at] = value;
        return result(damaged);
      }),
    );
  });
});
