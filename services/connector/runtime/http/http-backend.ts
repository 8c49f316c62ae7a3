/** One plain HTTP backend of the generation in force. One that left the configuration lives on until its last exchange is over. */
import type { Dispatcher } from 'undici';
import type { HttpBackend as Config } from '#protocol/config/generation.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { ConnectorStatus } from '#protocol/subjects/connector.ts';
import type { HttpRequestHead } from '#protocol/subjects/http.ts';
import type { Asked, Bus } from '#host/bus/bus.ts';
import { type Endpoint, Endpoints } from '#host/callouts/endpoints.ts';
import type { Caller } from '#host/caller-seal.ts';
import { DynamicServers } from './dynamic-servers.ts';
import { HttpExchange, IDLE_MS, faultOf } from './http-exchange.ts';
import type { EndpointSurroundings } from '../targets/http-endpoint.ts';
import { HttpServer } from './http-server.ts';
import type { Outgoing } from '../credentials/outgoing.ts';
import { PulledBody } from './pulled-body.ts';
import { sealedCaller } from '../targets/upstream.ts';

/** A signature covers the body, which is held for it. */
const SIGNED_BODY_BYTES_MAX = 4 * 1024 * 1024;

export type ExchangeMeta = { readonly principal: string; readonly route: string; readonly caller?: string | undefined; readonly request: string; readonly from?: string | undefined; readonly body?: string | undefined };

/** What became of an exchange. */
type Ended = (outcome: number | Fault) => void;

/** One that a request can go to. */
type Server = Pick<HttpServer, 'origin' | 'host' | 'servername' | 'credentials'> & { readonly pool: Dispatcher };

interface Weighing {
  readonly server: HttpServer;
  readonly weight: number;
}

/** One request, whichever servers are asked. */
interface Request {
  readonly asked: Asked<ExchangeMeta>;
  readonly head: HttpRequestHead;
  readonly ended: Ended;
  readonly tried: Set<Endpoint<Weighing>>;
  exchange: HttpExchange | undefined;
  /** The body, where it is all here. */
  whole?: Uint8Array | undefined;
  /** Of the one that is asked now. */
  credentials?: HttpServer['credentials'];
  over?: ((outcome: 'answered' | 'unreached') => void) | undefined;
}

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
  /** Where there are several. */
  readonly #endpoints: Endpoints<Weighing> | undefined;
  /** Where each request says which. */
  readonly #dynamic: DynamicServers | undefined;
  readonly #open: EndpointSurroundings['open'];
  #exchanges = 0;
  #retired = false;

  constructor({ config, bus, surroundings }: HttpBackendOptions) {
    this.config = config;
    this.#bus = bus;
    this.#open = surroundings.open;
    const all = config.endpoints.map((address) => ({ server: new HttpServer(config, address, surroundings), weight: address.weight ?? 1 }));
    this.#servers = all.map(({ server }) => server);
    this.#endpoints = all.length <= 1 ? undefined : new Endpoints(all);
    this.#dynamic = config.dynamic === undefined ? undefined : new DynamicServers(config, surroundings);
    this.status = { backend: config.key, target: config.name, kind: 'http', state: 'starting', eras: [], tools: null };
  }

  /** Passes a request on and its answer back. Never throws. */
  async serve(asked: Asked<ExchangeMeta>, head: HttpRequestHead, ended: Ended): Promise<void> {
    this.#exchanges += 1;
    asked.answer.whenClosed(() => this.#left());
    const request: Request = { asked, head, ended, tried: new Set(), exchange: undefined };
    try {
      await this.#ask(request);
    } catch (error) {
      this.#fail(request, error);
    }
  }

  #fail({ asked, ended }: Request, error: unknown): void {
    const fault = error instanceof Fault ? error : asFault(error);
    asked.answer.fail(fault);
    ended(fault);
  }

  /** Of one server; of another, where it could not be reached. */
  async #ask(request: Request): Promise<void> {
    const { asked, head, tried } = request;
    const { answer, payload } = asked;
    const endpoint = this.#endpoints?.pick(tried);
    if (endpoint !== undefined) tried.add(endpoint);
    const server: Server = this.#dynamic?.serverFor(head.server ?? '') ?? endpoint?.value.server ?? (this.#servers[0] as HttpServer);
    const pulled = this.#pulled(asked);
    request.whole ??= await this.#bodyOf(payload, pulled);
    const outgoing: Outgoing = { method: head.method, path: head.path, headers: { ...head.fields }, body: request.whole };
    outgoing.headers['host'] = head.hostWritten === true ? head.host : (server.host ?? head.host);
    await server.credentials?.add(outgoing, await this.#callerOf(asked, server));
    if (!answer.open) return request.ended(new Fault('gone', 'nobody waits for the answer any more', { reason: 'cancelled' }));
    request.over = endpoint?.begin();
    request.credentials = server.credentials;
    request.exchange ??= this.#exchange(request, pulled);
    dispatch(server, { ...outgoing, body: outgoing.body ?? (head.upgrade === undefined ? pulled : undefined), upgrade: head.upgrade }, request.exchange);
  }

  #exchange(request: Request, pulled: PulledBody | undefined): HttpExchange {
    const { asked: { answer }, head, ended } = request;
    const { name, timeoutMs } = this.config;
    return new HttpExchange({
      answer,
      backend: head.server ?? name,
      timeoutMs,
      upgrade: head.upgrade === undefined || pulled === undefined ? undefined : { protocol: head.upgrade, said: pulled },
      ended,
      asked: (outcome) => this.#over(request, outcome),
      answered: (status, date) => void (request.credentials?.correctable && request.credentials.corrected(status, date)),
    });
  }

  /** A body that stayed at ingress is begun anew for each server: of one that was not reached, nothing was pulled. */
  #pulled({ meta, answer }: Asked<ExchangeMeta>): PulledBody | undefined {
    const pulled = meta.from === undefined || meta.body === undefined ? undefined : new PulledBody(this.#bus, meta.from, meta.body);
    // Its fault comes by the exchange, where there is one.
    pulled?.on('error', () => undefined);
    answer.whenClosed(() => pulled?.destroy());
    return pulled;
  }

  #over(request: Request, outcome: 'answered' | 'unreached'): boolean {
    request.over?.(outcome);
    request.over = undefined;
    if (outcome === 'answered' || this.#endpoints?.hasMore(request.tried) !== true || !request.asked.answer.open) return false;
    this.#ask(request).catch((error: unknown) => this.#fail(request, error));
    return true;
  }

  /** Looks whether one of its servers can be connected to, for the status table; a dynamic one has none before it is asked. */
  async inspect(): Promise<void> {
    const probes = await Promise.allSettled(this.#servers.map((server) => server.probe()));
    const failed = probes.flatMap((probe) => (probe.status === 'rejected' ? [probe.reason as unknown] : []));
    const { error: _earlier, ...status } = this.status;
    this.status = failed.length < probes.length || probes.length === 0 ? { ...status, state: 'ready' } : { ...status, state: 'failed', error: faultOf(this.config.name, failed[0]).message };
  }

  retire(): void {
    this.#retired = true;
    this.#closeIfDone();
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#servers.map((server) => server.close()), this.#dynamic?.close()]);
  }

  async #bodyOf(payload: Uint8Array, pulled: PulledBody | undefined): Promise<Uint8Array | undefined> {
    if (pulled === undefined) return payload.length === 0 ? undefined : payload;
    return this.config.auth?.token?.kind === 'aws' ? pulled.whole(SIGNED_BODY_BYTES_MAX, `requests to ${this.config.name} are signed with theirs`) : undefined;
  }

  async #callerOf({ meta }: Asked<ExchangeMeta>, { credentials }: Server): Promise<Caller | undefined> {
    const caller = sealedCaller(meta);
    return caller === undefined || credentials?.ofCaller !== true ? undefined : this.#open?.(caller);
  }

  #left(): void {
    this.#exchanges -= 1;
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#retired && this.#exchanges === 0) void this.close();
  }
}

type Dispatched = Parameters<HttpServer['pool']['dispatch']>[0];

interface Sent extends Omit<Outgoing, 'body'> {
  readonly body: Uint8Array | PulledBody | undefined;
  readonly upgrade: string | undefined;
}

function dispatch({ pool, origin, servername }: Server, { method, path, headers, body, upgrade }: Sent, exchange: HttpExchange): void {
  const request = { origin, method, path, headers, body: body ?? null, upgrade: upgrade ?? null, servername, headersTimeout: IDLE_MS, bodyTimeout: IDLE_MS };
  // Any method is one, and undici takes a server name that its types do not know.
  pool.dispatch(request as Dispatched, exchange);
}
