import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { startRelay, type Relay } from './relay.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

/** Says back what it hears. */
async function startEcho(): Promise<{ readonly server: Server; readonly url: URL }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => server.close());
  return { server, url: new URL(`nats://127.0.0.1:${(server.address() as AddressInfo).port}`) };
}

async function dial(relay: Relay): Promise<Socket> {
  const { hostname, port } = new URL(relay.url);
  const socket = connect(Number(port), hostname).setEncoding('utf8');
  undo.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const heard = async (socket: Socket): Promise<string> => String((await once(socket, 'data'))[0]);

describe('the way to NATS', () => {
  test('falls silent without closing anything, and brings what was said meanwhile when it is whole again', async () => {
    const { url } = await startEcho();
    const relay = await startRelay([url]);
    undo.push(() => relay.stop());
    const socket = await dial(relay);
    socket.write('before');
    expect(await heard(socket)).toBe('before');
    relay.partition();
    const said: string[] = [];
    socket.on('data', (text: string) => said.push(text));
    socket.write('during');
    // Another way through this process: had the silence leaked, its bytes would have come before these.
    const other = await startRelay([url]);
    undo.push(() => other.stop());
    for (let turn = 0; turn < 20; turn += 1) {
      const beside = await dial(other);
      beside.write('beside');
      await heard(beside);
    }
    expect(said).toEqual([]);
    expect(socket.destroyed).toBe(false);
    const back = once(socket, 'data');
    relay.heal();
    await back;
    expect(said).toEqual(['during']);
  });

  test('takes connections while it is silent, and connects them afterwards', async () => {
    const { server, url } = await startEcho();
    const relay = await startRelay([url]);
    undo.push(() => relay.stop());
    let connections = 0;
    server.on('connection', () => (connections += 1));
    relay.partition();
    const socket = await dial(relay);
    socket.write('hello');
    expect(connections).toBe(0);
    relay.heal();
    expect(await heard(socket)).toBe('hello');
    expect(connections).toBe(1);
  });

  test('passes on a close, also one that happened in the silence', async () => {
    const { server, url } = await startEcho();
    const relay = await startRelay([url]);
    undo.push(() => relay.stop());
    const arrived = once(server, 'connection') as Promise<[Socket]>;
    const socket = await dial(relay);
    const [behind] = await arrived;
    relay.partition();
    socket.destroy();
    const closed = once(behind, 'close');
    relay.heal();
    await closed;
  });

  test('has a door for each node', async () => {
    const [one, two] = [await startEcho(), await startEcho()];
    const relay = await startRelay([one.url, two.url]);
    undo.push(() => relay.stop());
    expect(new Set(relay.url.split(',')).size).toBe(2);
  });
});
