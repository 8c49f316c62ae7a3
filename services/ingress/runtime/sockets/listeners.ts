/**
 * The sockets of a generation: opened when a bind appears, closed when it leaves. A bind that cannot open is reported and tried
 * again; the others serve. Tunnels lead to any of them, and to those that have no socket.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { FileWatch } from '#host/file-watch.ts';
import type { Svids } from '#host/spiffe/svids.ts';
import type { Logger } from '#host/telemetry/log.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import type { Connection } from '#policies/networkAuthorization/policy.ts';
import type { Bind } from '#protocol/config/generation.ts';
import type { HandshakeFailure, Minted, TunnelOutcome, Unreadable } from '../../events.ts';
import type { EdgeHandler } from '../edge/edge.ts';
import type { Door } from '../gateway.ts';
import { createHttpServer } from '../edge/http-edge.ts';
import type { MintingSettings } from './minted-certificates.ts';
import { beginLeaving, hold, stopHttpServer } from './server-life.ts';
import { connectionOf } from './source.ts';
import { TlsPort } from './tls-port.ts';
import { type Enter, Tunnels } from './tunnels.ts';

const RETRY_MS = 2_000;
/** Answers under way are finished when a port leaves with a generation; what is still open then is cut. */
const CLOSE_MS = 10_000;
/** How late a new certificate is noticed where the file system gives no notice. */
const FILES_POLL_MS = 30_000;
/** A host without IPv6 has no ::1 to bind; the IPv4 address serves. */
const ABSENT: ReadonlySet<string> = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);
const LOOPBACK = /^(?:127\.|::1$|localhost$)/;

export type BindHandler = (door: Door) => EdgeHandler;

/** What is served on a port that only opens tunnels. */
const ONLY_TUNNELS: EdgeHandler = (_request, response) => response.send(405, { allow: 'CONNECT', 'content-type': 'text/plain' }, 'this port opens tunnels, and serves nothing else: use CONNECT');
/** The port of the internal bind that has none. */
const ANY_PORT = 0;

interface Bound {
  bind: Bind;
  /** Undefined = plain HTTP. */
  readonly tls: TlsPort | undefined;
  readonly servers: Server[];
  /** Of what comes out of tunnels: it never listens. Undefined = nothing did yet. */
  inner: Server | undefined;
  retry: NodeJS.Timeout | undefined;
}

export interface ListenersOptions {
  readonly addresses: readonly string[];
  readonly handler: BindHandler;
  readonly log: Logger;
  /** For listeners with `spiffe`. Absent = there are none here. */
  readonly svids?: Svids | undefined;
  /** Told of the private keys that are read. */
  readonly learn?: Learn;
  readonly handshakeFailed: (why: HandshakeFailure) => void;
  /** For listeners with `dynamicCa`. */
  readonly minting?: MintingSettings | undefined;
  readonly minted?: ((outcome: Minted) => void) | undefined;
  readonly unreadable: (why: Unreadable) => void;
  /** Whether this process reaches nobody behind it now. */
  readonly cutOff: () => boolean;
  /** Whether a connection may stay; absent = each may. */
  readonly admits?: (connection: Connection) => boolean;
  readonly tunnelled: (outcome: TunnelOutcome) => void;
}

export class Listeners {
  readonly #options: ListenersOptions;
  readonly #bound = new Map<number, Bound>();
  #watch: { readonly files: string; readonly on: FileWatch } | undefined;
  #turn = Promise.resolve();
  readonly #tunnels: Tunnels;

  constructor(options: ListenersOptions) {
    const { admits = () => true, tunnelled } = options;
    this.#options = options;
    this.#tunnels = new Tunnels({ entrance: (port) => this.#entrance(port), admits, tunnelled });
  }

  get openTunnels(): number {
    return this.#tunnels.open;
  }

  follow(binds: readonly Bind[]): Promise<void> {
    return this.#inTurn(() => this.#follow(binds));
  }

  /** Certificates may have changed. */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      await Promise.all([...this.#bound.values()].flatMap(({ tls }) => (tls === undefined ? [] : [tls.reload()])));
    });
  }

  /** Before they close: they serve on, and each answer asks its client to come back by another connection. */
  beginLeaving(): void {
    for (const server of [...this.#bound.values()].flatMap(serversOf)) beginLeaving(server);
  }

  /** Takes no more connections, and resolves when what is open has been answered, or was cut after `withinMs`; idle ones go after `idleMs`. */
  close(withinMs = CLOSE_MS, idleMs = 0): Promise<void> {
    return this.#inTurn(async () => {
      this.#watchFiles([]);
      await Promise.all([...this.#bound.keys()].map((port) => this.#close(port, withinMs, idleMs)));
    });
  }

  /** One change of the ports at a time: a retry that overlapped a new generation could leave a server nobody knows. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(work);
    return this.#turn;
  }

  async #follow(binds: readonly Bind[]): Promise<void> {
    const wanted = new Map(binds.map((bind) => [bind.port, bind]));
    // Their certificates are there before a tunnel can lead to them.
    const internal = binds.filter((bind) => bind.internal === true).map(({ port }) => port);
    await this.#settleAll(internal, wanted);
    await this.#settleAll([...new Set([...this.#bound.keys(), ...wanted.keys()])].filter((port) => !internal.includes(port)), wanted);
    this.#watchFiles([...this.#bound.values()].flatMap(({ tls }) => tls?.files ?? []));
  }

  async #settleAll(ports: readonly number[], wanted: ReadonlyMap<number, Bind>): Promise<void> {
    await Promise.all(ports.map((port) => this.#settle(port, wanted.get(port))));
  }

  async #settle(port: number, bind: Bind | undefined): Promise<void> {
    const before = this.#bound.get(port);
    if (bind !== undefined && before !== undefined && isLike(bind, before.bind)) {
      before.bind = bind;
      await before.tls?.follow(bind.listeners);
      return;
    }
    if (before !== undefined) await this.#close(port);
    if (bind !== undefined) await this.#open(bind);
  }

  async #open(bind: Bind): Promise<void> {
    const { log, handshakeFailed, svids, learn, minting, minted } = this.#options;
    const tls = isSecure(bind) ? new TlsPort({ log, failed: handshakeFailed, svids, learn, minting, minted }) : undefined;
    const bound: Bound = { bind, tls, servers: [], inner: undefined, retry: undefined };
    this.#bound.set(bind.port, bound);
    await this.#listen(bound);
  }

  async #listen(bound: Bound): Promise<void> {
    const { bind, tls, servers } = bound;
    const { addresses, log, admits } = this.#options;
    const { port } = bind;
    await tls?.follow(bind.listeners);
    if (bind.internal === true) return;
    // Who balances sees a closed port, and not one that breaks every handshake.
    if (tls?.usable === false) return this.#retryLater(bound);
    for (const address of addresses) {
      const server = this.#createServer(bound, LOOPBACK.test(address), bind.tunnels === true);
      // Before anything is read of it.
      if (admits !== undefined) server.prependListener('connection', (socket: Socket) => void (admits(connectionOf(socket)) || socket.destroy()));
      try {
        await listen(server, port, address);
        servers.push(server);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (ABSENT.has(code ?? '') && addresses.length > 1) continue;
        log.error({ port, address }, `cannot listen on ${address} port ${port}: ${message}; trying again`);
        return this.#retryLater(bound);
      }
    }
  }

  #createServer({ bind: { port }, tls }: Bound, loopback: boolean, tunnels: boolean): Server {
    const { handler, cutOff, unreadable } = this.#options;
    const handle = tunnels ? ONLY_TUNNELS : handler({ port, secure: tls !== undefined, loopback });
    return createHttpServer(handle, { secure: tls?.secure, cutOff, unreadable, connect: tunnels ? this.#tunnels.connect : undefined });
  }

  #entrance(port: number): Enter | 'unready' | undefined {
    const anyPort = this.#bound.get(ANY_PORT);
    const bound = this.#bound.get(port) ?? (anyPort?.bind.internal === true ? anyPort : undefined);
    if (bound === undefined) return undefined;
    if (bound.tls?.usable === false) return 'unready';
    const inner = (bound.inner ??= this.#createInner(bound));
    return (socket) => {
      if (hold(inner, socket)) inner.emit('connection', socket);
      else socket.destroy();
    };
  }

  #createInner(bound: Bound): Server {
    // No page of a browser can open a tunnel, so there is nothing to guard as on a loopback address.
    const server = this.#createServer(bound, false, false);
    // With this node begins to keep account of connections, and of how long they take.
    server.emit('listening');
    return server;
  }

  #retryLater(bound: Bound): void {
    bound.retry = setTimeout(() => void this.#inTurn(() => this.#reopen(bound)), RETRY_MS);
  }

  async #reopen(bound: Bound): Promise<void> {
    if (this.#bound.get(bound.bind.port) !== bound) return;
    await Promise.all(bound.servers.splice(0).map((server) => stopHttpServer(server, CLOSE_MS)));
    await this.#listen(bound);
  }

  async #close(port: number, withinMs = CLOSE_MS, idleMs = 0): Promise<void> {
    const bound = this.#bound.get(port);
    this.#bound.delete(port);
    clearTimeout(bound?.retry);
    await Promise.all((bound === undefined ? [] : serversOf(bound)).map((server) => stopHttpServer(server, withinMs, idleMs)));
  }

  #watchFiles(list: readonly string[]): void {
    const files = [...new Set(list)].toSorted();
    const text = files.join('\n');
    if (text === (this.#watch?.files ?? '')) return;
    this.#watch?.on.close();
    this.#watch = files.length === 0 ? undefined : { files: text, on: new FileWatch(...files) };
    if (this.#watch !== undefined) void this.#followFiles(this.#watch.on);
  }

  async #followFiles(watch: FileWatch): Promise<void> {
    await watch.open();
    // Once at the start: what changed before the watch was open.
    while (this.#watch?.on === watch) {
      await this.reload();
      await watch.next(FILES_POLL_MS);
    }
  }
}

const serversOf = ({ servers, inner }: Bound): Server[] => (inner === undefined ? servers : [...servers, inner]);

/** The one may go on as the other, with connections that are open. */
const isLike = (one: Bind, other: Bind): boolean => isSecure(one) === isSecure(other) && one.internal === other.internal && one.tunnels === other.tunnels;

const isSecure = ({ listeners }: Bind): boolean => listeners.some(({ tls }) => tls !== undefined);

const listen = (server: Server, port: number, address: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
