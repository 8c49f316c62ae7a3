/** The sockets of a generation: opened when a bind appears, closed when it leaves. A bind that cannot open is reported and tried again; the others serve. */
import type { Server } from 'node:http';
import type { Logger } from '#host/telemetry/log.ts';
import type { EdgeHandler } from './edge.ts';
import type { Door } from './gateway.ts';
import { beginLeaving, createHttpServer, stopHttpServer } from './http-edge.ts';

const RETRY_MS = 2_000;
/** Answers under way are finished when a port leaves with a generation; what is still open then is cut. */
const CLOSE_MS = 10_000;
/** A host without IPv6 has no ::1 to bind; the IPv4 address serves. */
const ABSENT: ReadonlySet<string> = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);
const LOOPBACK = /^(?:127\.|::1$|localhost$)/;

export type BindHandler = (door: Door) => EdgeHandler;

interface Bound {
  readonly servers: Server[];
  retry: NodeJS.Timeout | undefined;
}

export class Listeners {
  readonly #addresses: readonly string[];
  readonly #handler: BindHandler;
  readonly #log: Logger;
  readonly #bound = new Map<number, Bound>();
  #turn = Promise.resolve();

  constructor(options: { addresses: readonly string[]; handler: BindHandler; log: Logger }) {
    this.#addresses = options.addresses;
    this.#handler = options.handler;
    this.#log = options.log;
  }

  follow(ports: readonly number[]): Promise<void> {
    return this.#inTurn(() => this.#follow(ports));
  }

  /** Before they close: they serve on, and each answer asks its client to come back by another connection. */
  beginLeaving(): void {
    for (const { servers } of this.#bound.values()) for (const server of servers) beginLeaving(server);
  }

  /** Takes no more connections, and resolves when what is open has been answered, or was cut after `withinMs`; idle ones go after `idleMs`. */
  close(withinMs = CLOSE_MS, idleMs = 0): Promise<void> {
    return this.#inTurn(async () => {
      await Promise.all([...this.#bound.keys()].map((port) => this.#close(port, withinMs, idleMs)));
    });
  }

  /** One change of the ports at a time: a retry that overlapped a new generation could leave a server nobody knows. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(work);
    return this.#turn;
  }

  async #follow(ports: readonly number[]): Promise<void> {
    const gone = [...this.#bound.keys()].filter((port) => !ports.includes(port));
    const fresh = ports.filter((port) => !this.#bound.has(port));
    await Promise.all([...gone.map((port) => this.#close(port)), ...fresh.map((port) => this.#open(port))]);
  }

  async #open(port: number): Promise<void> {
    const bound: Bound = { servers: [], retry: undefined };
    this.#bound.set(port, bound);
    for (const address of this.#addresses) {
      const server = createHttpServer(this.#handler({ port, loopback: LOOPBACK.test(address) }));
      try {
        await listen(server, port, address);
        bound.servers.push(server);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (ABSENT.has(code ?? '') && this.#addresses.length > 1) continue;
        this.#log.error({ port, address }, `cannot listen on ${address} port ${port}: ${message}; trying again`);
        bound.retry = setTimeout(() => void this.#inTurn(() => this.#reopen(port)), RETRY_MS);
        return;
      }
    }
  }

  async #reopen(port: number): Promise<void> {
    if (!this.#bound.has(port)) return;
    await this.#close(port);
    await this.#open(port);
  }

  async #close(port: number, withinMs = CLOSE_MS, idleMs = 0): Promise<void> {
    const bound = this.#bound.get(port);
    this.#bound.delete(port);
    clearTimeout(bound?.retry);
    await Promise.all((bound?.servers ?? []).map((server) => stopHttpServer(server, withinMs, idleMs)));
  }
}

const listen = (server: Server, port: number, address: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
