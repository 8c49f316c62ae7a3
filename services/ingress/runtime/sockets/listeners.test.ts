import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Bind } from '#protocol/config/generation.ts';
import { createLog } from '#host/telemetry/log.ts';
import { Listeners } from './listeners.ts';

let lines: string[];
let listeners: Listeners;
const others: Server[] = [];

beforeEach(() => {
  lines = [];
  listeners = listenersOn(['127.0.0.1']);
});
afterEach(async () => {
  vi.useRealTimers();
  await listeners.close();
  for (const other of others.splice(0)) other.close();
});

function listenersOn(addresses: readonly string[]): Listeners {
  const log = createLog({ level: 'info', format: 'json', sink: { write: (line: string) => void lines.push(line) } });
  return new Listeners({ addresses, cutOff: () => false, log, handshakeFailed: () => undefined, unreadable: () => undefined, tunnelled: () => undefined, handler: (door) => (_request, response) => response.send(200, {}, JSON.stringify(door)) });
}

const plain = (...ports: readonly number[]): Bind[] => ports.map((port) => ({ port, listeners: [] }));

/** A port somebody else has until `release`. */
async function takenPort(): Promise<{ readonly port: number; readonly release: () => Promise<unknown> }> {
  const other = createServer().listen(0, '127.0.0.1');
  others.push(other);
  await once(other, 'listening');
  return {
    port: (other.address() as AddressInfo).port,
    release: () => {
      other.close();
      return once(other, 'close');
    },
  };
}

async function freePort(): Promise<number> {
  const { port, release } = await takenPort();
  await release();
  return port;
}

const ask = async (port: number): Promise<unknown> => (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).json();
const isOpen = async (port: number): Promise<boolean> => {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
};

describe('the ports of a generation', () => {
  test('are opened, and know by which door a request came', async () => {
    const port = await freePort();
    await listeners.follow(plain(port));
    expect(await ask(port)).toEqual({ port, secure: false, loopback: true });
  });

  test('are kept when they stay, opened when they come and closed when they leave', async () => {
    const [stays, leaves, comes] = [await freePort(), await freePort(), await freePort()];
    await listeners.follow(plain(stays, leaves));
    const connection = connect(stays, '127.0.0.1');
    await once(connection, 'connect');
    await listeners.follow(plain(stays, comes));
    expect(await Promise.all([stays, leaves, comes].map(isOpen))).toEqual([true, false, true]);
    expect(connection.destroyed).toBe(false);
    connection.destroy();
  });

  test('serve where they can, and the one that is taken is served when it is free', async () => {
    const taken = await takenPort();
    const port = await freePort();
    await listeners.follow(plain(taken.port, port));
    expect(await ask(port)).toMatchObject({ port });
    expect(lines.join('')).toContain(`cannot listen on 127.0.0.1 port ${taken.port}`);
    await taken.release();
    await expect.poll(() => isOpen(taken.port), { timeout: 8_000 }).toBe(true);
    expect(await ask(taken.port)).toMatchObject({ port: taken.port });
  });

  test('that were taken and have left are not tried again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const taken = await takenPort();
    await listeners.follow(plain(taken.port));
    expect(vi.getTimerCount()).toBe(1);
    await listeners.follow([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('are all closed in the end, twice if need be', async () => {
    const port = await freePort();
    await listeners.follow(plain(port));
    await listeners.close();
    await listeners.close();
    expect(await isOpen(port)).toBe(false);
  });
});

test('an address that this machine does not have is done without when there is another', async () => {
  const several = listenersOn(['127.0.0.1', '2001:db8::1']);
  const port = await freePort();
  await several.follow(plain(port));
  expect([await isOpen(port), lines]).toEqual([true, []]);
  await several.close();
});
