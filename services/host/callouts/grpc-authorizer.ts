/** An authorizer that speaks Envoy's `Check` (protocol/envoy): bytes to bytes, whoever made them. */
import { type ChannelCredentials, Client, Metadata, credentials, status } from '@grpc/grpc-js';
import type { AuthorizerTarget } from '#policies/authorizer/authorizer.ts';
import type { CalloutEndpoint, Reaching, Tunnel } from '#protocol/config/callout.ts';
import { modified } from '#protocol/config/header-modifier.ts';
import { nameOf } from '#protocol/config/host-url.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { clock } from '../clock.ts';
import { securedChannel, svidFor } from '../secured-connector.ts';
import type { ConnectorParts } from '../server-connector.ts';
import type { Svid } from '../spiffe/svid.ts';
import { type Authorize, type AuthorizeAt, type Wire, overEndpoints } from './wire.ts';

const CHECK = '/envoy.service.auth.v3.Authorization/Check';
const ANSWER_BYTES_MAX = 1024 * 1024;
/** A server that is back is noticed soon; the library's own patience is two minutes. */
const RECONNECT_MS = 200;
const RECONNECT_MS_MAX = 2_000;
const DETAILS_CHARS_MAX = 200;
const BASIC = /^Basic +([A-Za-z0-9+/]+=*)$/i;

const OPTIONS = {
  'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
  'grpc.initial_reconnect_backoff_ms': RECONNECT_MS,
  'grpc.max_reconnect_backoff_ms': RECONNECT_MS_MAX,
  'grpc.min_reconnect_backoff_ms': RECONNECT_MS,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
  // A connection of its own: closing it is up to its owner alone.
  'grpc.use_local_subchannel_pool': 1,
};

type CheckWire = Wire<Uint8Array, Uint8Array>;

/** @param authorizeAt absent = we ask as nobody. @throws Fault `upstream` when a file of its `backendTLS` cannot be used, or there is no SVID to show. */
export const openGrpcAuthorizer = (target: AuthorizerTarget, parts: ConnectorParts, authorizeAt?: AuthorizeAt): Promise<CheckWire> =>
  overEndpoints(target.callout, (endpoint) => openOne({ endpoint, target, parts, authorize: authorizeAt?.(endpoint.origin) }));

interface Opening {
  readonly endpoint: CalloutEndpoint;
  readonly target: AuthorizerTarget;
  readonly parts: ConnectorParts;
  readonly authorize: Authorize | undefined;
}

async function openOne(opening: Opening): Promise<CheckWire> {
  const { target, parts: { svids } } = opening;
  if (target.callout.reaching.tls?.spiffe === undefined) return new Channel(opening, undefined);
  const ours = (): Promise<Svid> => svidFor({ target: calledBy(opening), timeoutMs: target.timeoutMs, svids });
  const open = (svid: Svid) => ({ of: svid, channel: new Channel(opening, svid) });
  let made = open(await ours());
  return {
    async ask(request, deadline) {
      const svid = await ours();
      if (made.of !== svid) {
        made.channel.retire();
        made = open(svid);
      }
      return made.channel.ask(request, deadline);
    },
    close: () => made.channel.close(),
  };
}

const calledBy = ({ endpoint }: Opening): string => `the authorizer ${nameOf(endpoint)}`;

/** What it shows of us, it shows for as long as it lasts. */
class Channel implements CheckWire {
  readonly #client: Client;
  readonly #host: string;
  readonly #reaching: Reaching;
  readonly #authorize: Authorize | undefined;
  #flying = 0;
  #retired = false;

  /** @param svid as whom it speaks; undefined = as its files say. */
  constructor(opening: Opening, svid: Svid | undefined) {
    const { endpoint, target: { callout: { reaching } }, parts, authorize } = opening;
    const { trust, options } = securedBy(opening, svid);
    const { address, options: way } = wayTo(endpoint, reaching.tunnel, parts);
    this.#client = new Client(address, trust, { ...OPTIONS, ...keepAliveOptions(reaching), ...options, ...way });
    this.#client.getChannel().getConnectivityState(true);
    this.#host = nameOf(endpoint);
    this.#reaching = reaching;
    this.#authorize = authorize;
  }

  async ask(body: Uint8Array, deadline: number): Promise<Uint8Array> {
    this.#flying += 1;
    try {
      const until = Date.now() + Math.max(1, deadline - clock());
      await this.#connected(until);
      return await this.#check(Buffer.from(body), await this.#metadata(body), until);
    } finally {
      this.#flying -= 1;
      if (this.#retired) this.retire();
    }
  }

  /** Closes it as soon as nothing waits. */
  retire(): void {
    this.#retired = true;
    if (this.#flying === 0) this.close();
  }

  close(): void {
    this.#client.close();
  }

  #check(body: Buffer, metadata: Metadata, deadline: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(CHECK, (bytes: Buffer) => bytes, (bytes) => bytes, body, metadata, { deadline }, (error, answer) => {
        if (error === null && answer !== undefined) resolve(answer);
        else reject(faultOf(this.#host, error));
      });
    });
  }

  /** A call waits for a connection as long as for its answer, unless it is told to be less patient. */
  #connected(until: number): Promise<void> | undefined {
    const { connectMs } = this.#reaching;
    if (connectMs === undefined) return undefined;
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(Math.min(until, Date.now() + connectMs), (error) => {
        if (error === undefined) resolve();
        else reject(new Fault('upstream', `${this.#host} cannot be connected to within ${connectMs} ms`, { target: this.#host, reason: 'UND_ERR_CONNECT_TIMEOUT' }));
      });
    });
  }

  async #metadata(body: Uint8Array): Promise<Metadata> {
    const metadata = new Metadata();
    const { headers } = this.#reaching;
    if (headers === undefined && this.#authorize === undefined) return metadata;
    const request = { method: 'POST', path: CHECK, headers: { ...modified({}, headers ?? {}) }, body };
    await this.#authorize?.(request);
    for (const [name, value] of Object.entries(request.headers)) metadata.set(name, value);
    return metadata;
  }
}

/** HTTP/2 has its own way to look after a connection, where calls wait on it. */
const keepAliveOptions = ({ keepAliveMs }: Reaching): Record<string, number> => (keepAliveMs === undefined || keepAliveMs === 0 ? {} : { 'grpc.keepalive_time_ms': keepAliveMs });

function securedBy(opening: Opening, svid: Svid | undefined): { readonly trust: ChannelCredentials; readonly options: Record<string, string> } {
  const { endpoint: { origin }, target: { callout: { reaching: { tls } } }, parts: { learn } } = opening;
  if (!origin.startsWith('https:')) return { trust: credentials.createInsecure(), options: {} };
  if (tls === undefined) return { trust: credentials.createSsl(), options: {} };
  const { context, verify, hostname } = securedChannel(tls, { target: calledBy(opening), learn }, svid);
  return { trust: credentials.createFromSecureContext(context, verify), options: hostname === undefined ? {} : { 'grpc.ssl_target_name_override': hostname } };
}

/** Straight there, or by way of a proxy, in the words of the library. @throws Fault for a credential that it cannot tell a proxy. */
function wayTo({ origin, socketPath }: CalloutEndpoint, tunnel: Tunnel | undefined, { proxyAuthorization }: ConnectorParts): { readonly address: string; readonly options: Record<string, string> } {
  if (socketPath !== undefined) return { address: `unix:${socketPath}`, options: { 'grpc.default_authority': new URL(origin).host } };
  const address = addressOf(origin);
  if (tunnel === undefined) return { address, options: {} };
  const told = proxyAuthorization?.();
  const [, basic] = BASIC.exec(told ?? '') ?? [];
  if (told !== undefined && basic === undefined) throw new Fault('upstream', `the authorizer ${address}: backendTunnel: by gRPC a proxy can be told "Basic" and a name and password alone`, { target: address, reason: 'tunnel' });
  const creds = basic === undefined ? {} : { 'grpc.http_connect_creds': Buffer.from(basic, 'base64').toString() };
  return { address: addressOf(tunnel.origins[0] ?? ''), options: { 'grpc.http_connect_target': `dns:${address}`, 'grpc.default_authority': address, ...creds } };
}

function addressOf(origin: string): string {
  const { host, port, protocol } = new URL(origin);
  return port === '' ? `${host}:${protocol === 'https:' ? 443 : 80}` : host;
}

function faultOf(host: string, error: { readonly code: number; readonly details: string } | null): Fault {
  const code = error?.code ?? status.UNKNOWN;
  if (code === status.DEADLINE_EXCEEDED) return new Fault('timeout', `${host} did not answer in time`, { target: host });
  return new Fault('upstream', `${host} answered ${status[code] ?? code}: ${(error?.details ?? '').slice(0, DETAILS_CHARS_MAX)}`, { target: host, reason: status[code] ?? String(code) });
}
