/**
 * The way of one process to NATS: a TCP relay with a port for each node, that can fall silent.
 *
 * R1 A partition is silence, not a refusal: no byte passes in either direction, nothing is closed, new connections are taken
 *    by the system and lead nowhere. As when packets are dropped.
 * R2 What was sent into the silence arrives when it is over, a close included: as TCP sends it again.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export interface Relay {
  /** For NATS_URL. */
  readonly url: string;
  partition(): void;
  heal(): void;
  stop(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  /** Undefined while the way is silent. */
  server: Socket | undefined;
}

export async function startRelay(targets: readonly URL[]): Promise<Relay> {
  const relay = new NatsRelay();
  await relay.start(targets);
  return relay;
}

class NatsRelay implements Relay {
  readonly #servers: Server[] = [];
  readonly #pairs = new Map<Pair, URL>();
  #silent = false;
  url = '';

  async start(targets: readonly URL[]): Promise<void> {
    for (const target of targets) {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#take(client, target)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      this.#servers.push(server);
    }
    this.url = this.#servers.map((server) => `nats://127.0.0.1:${(server.address() as AddressInfo).port}`).join(',');
  }

  partition(): void {
    this.#silent = true;
    for (const { client, server } of this.#pairs.keys()) {
      client.unpipe();
      client.pause();
      server?.unpipe();
      server?.pause();
    }
  }

  heal(): void {
    this.#silent = false;
    for (const [pair, target] of this.#pairs) this.#join(pair, target);
  }

  async stop(): Promise<void> {
    for (const { client, server } of this.#pairs.keys()) {
      client.destroy();
      server?.destroy();
    }
    for (const server of this.#servers) server.close();
  }

  #take(client: Socket, target: URL): void {
    const pair: Pair = { client, server: undefined };
    this.#pairs.set(pair, target);
    client.setNoDelay(true);
    client.on('error', () => undefined);
    client.once('close', () => this.#end(pair));
    if (!this.#silent) this.#join(pair, target);
  }

  #join(pair: Pair, target: URL): void {
    if (pair.server === undefined) {
      const server = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true, noDelay: true });
      server.on('error', () => undefined);
      server.once('close', () => this.#end(pair));
      pair.server = server;
    }
    pair.client.pipe(pair.server);
    pair.server.pipe(pair.client);
  }

  /** One side is gone for good: so is the other. */
  #end(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server?.destroy();
  }
}
