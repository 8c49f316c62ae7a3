import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import type { EdgeStream } from '../edge/edge.ts';
import { createHttpServer } from '../edge/http-edge.ts';
import { KeepAlive } from './keep-alive.ts';

const POLL_MS = 8_000;

const EVERY_MS = 15_000;

let server: Server | undefined;
afterEach(() => {
  vi.useRealTimers();
  server?.close();
  server?.closeAllConnections();
});

async function openStream(): Promise<{ readonly stream: EdgeStream; readonly read: () => Promise<string>; readonly cut: () => void }> {
  const { promise, resolve } = Promise.withResolvers<EdgeStream>();
  server = createHttpServer((_request, response) => resolve(response.open(200, {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cutting = new AbortController();
  const { body } = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { signal: cutting.signal });
  const reader = body?.getReader();
  const read = async (): Promise<string> => Buffer.from((await reader?.read())?.value ?? []).toString();
  return { stream: await promise, read, cut: () => cutting.abort() };
}

test('an open stream gets a comment each time, until it is removed or all is stopped', async () => {
  const { stream, read } = await openStream();
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const keepAlive = new KeepAlive(EVERY_MS);
  keepAlive.add(stream);
  for (let beats = 0; beats < 2; beats += 1) {
    vi.advanceTimersByTime(EVERY_MS);
    expect(await read()).toBe(': keep-alive\n\n');
  }
  keepAlive.remove(stream);
  vi.advanceTimersByTime(EVERY_MS);
  keepAlive.add(stream);
  keepAlive.stop();
  vi.advanceTimersByTime(10 * EVERY_MS);
  stream.write('the next thing');
  expect(await read()).toBe('the next thing');
});

test('a stream whose client has gone is forgotten at the next beat', async () => {
  const { stream, cut } = await openStream();
  cut();
  await expect.poll(() => stream.open, { timeout: POLL_MS }).toBe(false);
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const keepAlive = new KeepAlive(EVERY_MS);
  keepAlive.add(stream);
  expect(keepAlive.open).toBe(1);
  vi.advanceTimersByTime(EVERY_MS);
  expect(keepAlive.open).toBe(0);
  keepAlive.stop();
});
