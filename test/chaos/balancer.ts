/**
 * What stands in front of the ingresses in a deployment: a layer 4 balancer. It knows connections, not requests or sessions.
 *
 * L1 A new connection goes to the next target that calls itself ready, in turn; one that does not take it is passed over.
 * L2 A connection stays where it is until either end closes it. When its ingress dies, it is cut; when its ingress is merely
 *    not ready any more, it is not.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { clock } from '#host/clock.ts';

const PROBE_EVERY_MS = 150;
const PROBE_MS = 1_000;
const CONNECT_MS = 1_000;
/** A client that finds nobody ready is kept waiting this long. */
const NOBODY_MS = 10_000;
const AGAIN_MS = 25;

export interface Target {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Where it says whether it is ready. */
  readonly readyUrl: string;
}

export interface Balancer {
  readonly url: string;
  /** Names of the targets that were ready when last asked. */
  readonly ready: ReadonlySet<string>;
  stop(): Promise<void>;
}

export async function startBalancer(targets: readonly Target[]): Promise<Balancer> {
  const balancer = new Layer4Balancer(targets);
  await balancer.start();
  return balancer;
}

class Layer4Balancer implements Balancer {
  readonly #targets: readonly Target[];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #stopping = new AbortController();
  readonly ready = new Set<string>();
  #turn = 0;

  constructor(targets: readonly Target[]) {
    this.#targets = targets;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => void this.#serve(client));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }

  async start(): Promise<void> {
    for (const target of this.#targets) void this.#watch(target);
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #watch({ name, readyUrl }: Target): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const ready = await fetch(readyUrl, { signal: AbortSignal.timeout(PROBE_MS) }).then(
        async (response) => (await response.text(), response.ok),
        () => false,
      );
      if (ready) this.ready.add(name);
      else this.ready.delete(name);
      await wait(PROBE_EVERY_MS, undefined, { ref: false });
    }
  }

  async #serve(client: Socket): Promise<void> {
    client.setNoDelay(true);
    this.#keep(client);
    const server = await this.#dial(client);
    if (server === undefined || client.destroyed) {
      server?.destroy();
      client.resetAndDestroy();
      return;
    }
    this.#keep(server);
    for (const [one, other] of [[client, server], [server, client]] as const) {
      one.once('error', () => other.resetAndDestroy());
      one.once('close', () => other.destroySoon());
      one.pipe(other);
    }
  }

  /** Undefined when nobody has taken the connection in time. */
  async #dial(client: Socket): Promise<Socket | undefined> {
    const until = clock() + NOBODY_MS;
    while (clock() < until && !client.destroyed) {
      const ready = this.#targets.filter(({ name }) => this.ready.has(name));
      for (let tries = 0; tries < ready.length; tries += 1) {
        this.#turn += 1;
        const socket = await dial(ready[this.#turn % ready.length] as Target);
        if (socket !== undefined) return socket;
      }
      await wait(AGAIN_MS);
    }
    return undefined;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

function dial({ host, port }: Target): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const late = setTimeout(() => socket.destroy(), CONNECT_MS);
    socket.on('error', () => undefined);
    socket.once('connect', () => {
      clearTimeout(late);
      resolve(socket);
    });
    socket.once('close', () => {
      clearTimeout(late);
      resolve(undefined);
    });
  });
}
