import { once } from 'node:events';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Unreadable } from '../../events.ts';
import type { EdgeHandler, EdgeStream } from '../edge/edge.ts';
import { createHttpServer } from '../edge/http-edge.ts';

const GET = 'GET / HTTP/1.1\r\nhost: h\r\n';
const close: (() => void)[] = [];
const told: Unreadable[] = [];
afterEach(() => {
  told.length = 0;
  for (const one of close.splice(0)) one();
});

async function serve(handle: EdgeHandler): Promise<number> {
  const server = createHttpServer(handle, { unreadable: (why) => void told.push(why) });
  close.push(() => server.close().closeAllConnections());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A connection on which this was sent; what comes back is collected until it closes. */
function say(port: number, text: string): { readonly socket: Socket; readonly answer: Promise<string> } {
  const socket = connect(port, '127.0.0.1');
  close.push(() => socket.destroy());
  let heard = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
  socket.on('error', () => undefined).write(text);
  return { socket, answer: once(socket, 'close').then(() => heard) };
}

describe('what is no request', () => {
  test.each([
    ['headers that are too long', `${GET}authorization: ${'x'.repeat(64 * 1024)}\r\n\r\n`, '431 Request Header Fields Too Large', 'headers-too-long'],
    ['another protocol', '\u0016\u0003\u0001', '400 Bad Request', 'malformed'],
    ['a header without a name', `${GET}: x\r\n\r\n`, '400 Bad Request', 'malformed'],
  ])('%s, is refused and counted', async (_, text, status, why) => {
    const port = await serve((_request, response) => response.send(200, {}));
    expect([await say(port, text).answer, told]).toEqual([`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`, [why]]);
  });

  test('and comes while another one is being answered, is not answered into it', async () => {
    let stream: EdgeStream | undefined;
    const port = await serve((_request, response) => {
      stream = response.open(200, { 'content-type': 'text/plain' });
      stream.write('first');
    });
    const { socket, answer } = say(port, `${GET}\r\n`);
    await once(socket, 'data');
    socket.write('nonsense\r\n\r\n');
    expect(await answer).not.toContain('400');
    expect(stream?.open).toBe(false);
  });
});
