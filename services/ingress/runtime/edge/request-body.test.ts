import { once } from 'node:events';
import { type IncomingMessage, type Server, createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HeldBody } from './request-body.ts';
import { SlowBodies } from './slow-bodies.ts';

let server: Server;
let arrived: (request: IncomingMessage) => void;
beforeAll(async () => {
  server = createServer((request) => arrived(request)).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** A request whose body comes in the pieces a test sends. */
async function begin(head = 'transfer-encoding: chunked'): Promise<{ body: HeldBody; socket: Socket; request: IncomingMessage }> {
  const { promise, resolve } = Promise.withResolvers<IncomingMessage>();
  arrived = resolve;
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(`POST / HTTP/1.1\r\nhost: x\r\n${head}\r\n\r\n`);
  const request = await promise;
  return { body: new HeldBody(request, new SlowBodies()), socket, request };
}

const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const END = '0\r\n\r\n';
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

describe('a body', () => {
  test('is looked into before all of it is there, and is whole after that', async () => {
    const { body, socket } = await begin();
    socket.write(chunk('abcdef'));
    expect(await body.prefix(4).then(({ bytes, complete }) => [text(bytes), complete])).toEqual(['abcd', false]);
    socket.write(chunk('ghi') + END);
    expect(text(await body.whole(9))).toBe('abcdefghi');
    expect(await body.prefix(4).then(({ bytes, complete }) => [text(bytes), complete])).toEqual(['abcd', false]);
    expect(await body.prefix(9).then(({ bytes, complete }) => [text(bytes), complete])).toEqual(['abcdefghi', true]);
  });

  test.each([[3, true], [2, false]])('of three bytes, looked into for %d, is complete: %s', async (max, complete) => {
    const { body, socket } = await begin();
    socket.write(chunk('abc') + END);
    expect((await body.prefix(max)).complete).toBe(complete);
  });

  test('that is larger than may be is refused, and not read to its end', async () => {
    const { body, socket, request } = await begin();
    socket.write(chunk('abcdef'));
    await body.prefix(1);
    await expect(body.whole(5)).rejects.toMatchObject({ code: 'invalid', facts: { status: '413' } });
    expect(request.isPaused()).toBe(true);
    const { body: said } = await begin('content-length: 6');
    await expect(said.whole(5)).rejects.toMatchObject({ facts: { status: '413' } });
  });

  test('that there is none of is empty', async () => {
    const { body } = await begin('x: y');
    expect(await body.prefix(1)).toEqual({ bytes: Buffer.alloc(0), complete: true });
  });

  test('that breaks off is said to, to whoever waits and whoever comes', async () => {
    const { body, socket } = await begin();
    const waiting = body.prefix(4);
    socket.destroy();
    await expect(waiting).rejects.toMatchObject({ code: 'invalid', facts: { status: '400' } });
    await expect(body.whole(4)).rejects.toMatchObject({ facts: { status: '400' } });
  });
});
