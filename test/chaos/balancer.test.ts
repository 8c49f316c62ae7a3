import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Agent, request } from 'undici';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../world/parley.ts';
import { startBalancer, type Balancer, type Target } from './balancer.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

interface Ingress {
  readonly target: Target;
  ready: boolean;
  /** As a kill -9: every socket breaks, nobody listens any more. */
  die(): void;
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** Answers with its name; /hang is never answered. */
async function startIngress(name: string): Promise<Ingress> {
  const sockets = new Set<Socket>();
  const server = createServer((asked, response) => void (asked.url === '/hang' ? response.flushHeaders() : response.end(name)));
  server.on('connection', (socket) => sockets.add(socket));
  const admin = createServer((_asked, response) => void response.writeHead(ingress.ready ? 200 : 503).end());
  const [port, adminPort] = [await listening(server), await listening(admin)];
  const ingress: Ingress = {
    target: { name, host: '127.0.0.1', port, readyUrl: `http://127.0.0.1:${adminPort}/healthz/ready` },
    ready: true,
    die: () => {
      server.close();
      admin.close();
      for (const socket of sockets) socket.resetAndDestroy();
    },
  };
  return ingress;
}

async function balance(...ingresses: Ingress[]): Promise<Balancer> {
  const balancer = await startBalancer(ingresses.map(({ target }) => target));
  undo.push(() => balancer.stop());
  await eventually('all to be ready', () => (balancer.ready.size === ingresses.length ? true : undefined));
  return balancer;
}

/** On a connection of its own. */
async function ask({ url }: Balancer): Promise<string> {
  const dispatcher = new Agent();
  try {
    const { body } = await request(new URL('/', url), { dispatcher });
    return await body.text();
  } finally {
    await dispatcher.destroy();
  }
}

describe('the balancer', () => {
  test('gives connections to the targets in turn', async () => {
    const balancer = await balance(await startIngress('one'), await startIngress('two'));
    const answers = [await ask(balancer), await ask(balancer), await ask(balancer), await ask(balancer)];
    expect(answers.toSorted()).toEqual(['one', 'one', 'two', 'two']);
  });

  test('gives no new connection to who is not ready, and leaves the old ones alone', async () => {
    const [one, two] = [await startIngress('one'), await startIngress('two')];
    const balancer = await balance(one, two);
    const dispatcher = new Agent({ connections: 1, keepAliveTimeout: 60_000 });
    undo.push(() => dispatcher.destroy());
    const held = async () => (await request(new URL('/', balancer.url), { dispatcher })).body.text();
    const name = await held();
    (name === 'one' ? one : two).ready = false;
    await eventually('it to be seen', () => (balancer.ready.size === 1 ? true : undefined));
    const others = [await ask(balancer), await ask(balancer)];
    expect(others).not.toContain(name);
    expect(await held()).toBe(name);
  });

  test('cuts the connections of a target that dies, and passes it over', async () => {
    const [one, two] = [await startIngress('one'), await startIngress('two')];
    const balancer = await balance(one, two);
    const agents = [new Agent(), new Agent()];
    undo.push(() => Promise.all(agents.map((agent) => agent.destroy())));
    const hanging = await Promise.all(agents.map((dispatcher) => request(new URL('/hang', balancer.url), { dispatcher })));
    const cut = Promise.any(hanging.map(({ body }) => body.text().then(() => Promise.reject(new Error('it was answered')), (error: unknown) => String(error))));
    one.die();
    expect(await cut).toMatch(/other side closed|ECONNRESET|terminated/);
    // At once: before anybody has asked it whether it is ready.
    expect([await ask(balancer), await ask(balancer)]).toEqual(['two', 'two']);
  });

  test('keeps a client waiting while nobody is ready', async () => {
    const one = await startIngress('one');
    const balancer = await balance(one);
    one.ready = false;
    await eventually('it to be seen', () => (balancer.ready.size === 0 ? true : undefined));
    const answer = ask(balancer);
    one.ready = true;
    expect(await answer).toBe('one');
  });
});
