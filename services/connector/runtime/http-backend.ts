/** One plain HTTP backend of the generation in force. One that left the configuration lives on until its last exchange is over. */
import type { Dispatcher } from 'undici';
import type { HttpBackend as Config } from '#protocol/config/generation.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { ConnectorStatus } from '#protocol/subjects/connector.ts';
import type { HttpRequestHead } from '#protocol/subjects/http.ts';
import type { Asked, Bus } from '#host/bus/bus.ts';
import type { Caller } from '#host/caller-seal.ts';
import { DynamicServers } from './dynamic-servers.ts';
import { HttpExchange, faultOf } from './http-exchange.ts';
import type { EndpointSurroundings } from './http-endpoint.ts';
import { HttpServer } from './http-server.ts';
import type { Outgoing } from './outgoing.ts';
import { PulledBody } from './pulled-body.ts';
import { sealedCaller } from './upstream.ts';

/** Neither side has said a byte for as long: nobody is there any more. */
const IDLE_MS = 15 * 60_000;
/** A signature covers the body, which is held for it. */
const SIGNED_BODY_BYTES_MAX = 4 * 1024 * 1024;

export type ExchangeMeta = { readonly principal: string; readonly route: string; readonly caller?: string | undefined; readonly request: string; readonly from?: string | undefined; readonly body?: string | undefined };

/** One that a request can go to. */
type Server = Pick<HttpServer, 'origin' | 'host' | 'servername' | 'credentials'> & { readonly pool: Dispatcher };

/** What became of an exchange. */
type Ended = (outcome: number | Fault) => void;

export interface HttpBackendOptions {
  readonly config: Config;
  readonly bus: Bus;
  readonly surroundings: EndpointSurroundings;
}

export class HttpBackend {
  readonly config: Config;
  status: ConnectorStatus['targets'][number];
  readonly #bus: Bus;
  readonly #servers: readonly HttpServer[];
  readonly #dynamic: DynamicServers | undefined;
  readonly #open: EndpointSurroundings['open'];
  #turn = 0;
  #exchanges = 0;
  #retired = false;

  constructor({ config, bus, surroundings }: HttpBackendOptions) {
    this.config = config;
    this.#bus = bus;
    this.#open = surroundings.open;
    this.#servers = config.endpoints.map((address) => new HttpServer(config, address, surroundings));
    this.#dynamic = config.dynamic === undefined ? undefined : new DynamicServers(config, surroundings);
    this.status = { backend: config.key, target: config.name, kind: 'http', state: 'starting', eras: [], tools: null };
  }

  /** Passes a request on and its answer back. Never throws. */
  async serve(asked: Asked<ExchangeMeta>, head: HttpRequestHead, ended: Ended): Promise<void> {
    const { answer, meta, payload } = asked;
    this.#exchanges += 1;
    answer.whenClosed(() => this.#left());
    const pulled = meta.from === undefined || meta.body === undefined ? undefined : new PulledBody(this.#bus, meta.from, meta.body);
    // Its fault comes by the exchange, where there is one.
    pulled?.on('error', () => undefined);
    answer.whenClosed(() => pulled?.destroy());
    try {
      const server = this.#serverFor(head);
      const outgoing: Outgoing = { method: head.method, path: head.path, headers: { ...head.fields }, body: await this.#bodyOf(payload, pulled) };
      outgoing.headers['host'] = head.hostWritten === true ? head.host : (server.host ?? head.host);
      await server.credentials?.add(outgoing, await this.#callerOf(asked, server));
      if (answer.open) this.#dispatch(server, { outgoing, body: outgoing.body ?? pulled ?? null, exchange: new HttpExchange({ answer, backend: head.server ?? this.config.name, timeoutMs: this.config.timeoutMs, ended }) });
    } catch (error) {
      const fault = error instanceof Fault ? error : asFault(error);
      answer.fail(fault);
      ended(fault);
    }
  }

  /** Looks whether its servers can be connected to, for the status table. */
  async inspect(): Promise<void> {
    try {
      await Promise.all(this.#servers.map((server) => server.probe()));
      const { error: _earlier, ...status } = this.status;
      this.status = { ...status, state: 'ready' };
    } catch (error) {
      this.status = { ...this.status, state: 'failed', error: faultOf(this.config.name, error).message };
    }
  }

  retire(): void {
    this.#retired = true;
    this.#closeIfDone();
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#servers, ...(this.#dynamic === undefined ? [] : [this.#dynamic])].map((servers) => servers.close()));
  }

  /** Where a request goes: the one place that knows. */
  #serverFor({ server }: HttpRequestHead): Server {
    if (this.#dynamic !== undefined) return this.#dynamic.serverFor(server ?? '');
    return this.#servers[this.#turn++ % this.#servers.length] as HttpServer;
  }

  async #bodyOf(payload: Uint8Array, pulled: PulledBody | undefined): Promise<Uint8Array | undefined> {
    if (pulled === undefined) return payload.length === 0 ? undefined : payload;
    return this.config.auth?.token?.kind === 'aws' ? pulled.whole(SIGNED_BODY_BYTES_MAX, `requests to ${this.config.name} are signed with theirs`) : undefined;
  }

  async #callerOf({ meta }: Asked<ExchangeMeta>, { credentials }: Server): Promise<Caller | undefined> {
    const caller = sealedCaller(meta);
    return caller === undefined || credentials?.ofCaller !== true ? undefined : this.#open?.(caller);
  }

  #dispatch({ pool, origin, servername }: Server, { outgoing: { method, path, headers }, body, exchange }: { readonly outgoing: Outgoing; readonly body: Uint8Array | PulledBody | null; readonly exchange: HttpExchange }): void {
    pool.dispatch({ origin, method, path, headers, body, servername, headersTimeout: IDLE_MS, bodyTimeout: IDLE_MS } as Parameters<Server['pool']['dispatch']>[0], exchange);
  }

  #left(): void {
    this.#exchanges -= 1;
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#retired && this.#exchanges === 0) void this.close();
  }
}
