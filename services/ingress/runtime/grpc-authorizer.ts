/** An authorizer that speaks Envoy's `Check` (protocol/envoy). */
import { fileURLToPath } from 'node:url';
import { type ChannelCredentials, type ServiceClientConstructor, credentials, makeClientConstructor, status } from '@grpc/grpc-js';
import { type ServiceDefinition, load } from '@grpc/proto-loader';
import { type OwnParts, securedChannel, svidFor } from '#host/secured-connector.ts';
import type { Svid } from '#host/spiffe/svid.ts';
import type { AuthorizerTarget } from '#policies/authorizer/authorizer.ts';
import type { CheckRequest, CheckResponse } from '#policies/authorizer/check.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Wire } from './authorizers.ts';

const PROTO = fileURLToPath(new URL('../../../protocol/envoy/external_auth.proto', import.meta.url));
const SERVICE = 'envoy.service.auth.v3.Authorization';
const ANSWER_BYTES_MAX = 1024 * 1024;
/** A server that is back is noticed soon; the library's own patience is two minutes. */
const RECONNECT_MS = 200;
const RECONNECT_MS_MAX = 2_000;
const DETAILS_CHARS_MAX = 200;

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

let loading: Promise<ServiceClientConstructor> | undefined;

const loaded = (): Promise<ServiceClientConstructor> =>
  (loading ??= load(PROTO, { keepCase: true, longs: Number, enums: Number, defaults: true, oneofs: true }).then((definitions) => makeClientConstructor(definitions[SERVICE] as ServiceDefinition, SERVICE)));

type Check = (request: CheckRequest, options: { readonly deadline: number }, answered: (error: { readonly code: number; readonly details: string } | null, answer?: CheckResponse) => void) => void;

/** @throws Fault `upstream` when a file of its `backendTLS` cannot be used, or there is no SVID to show. */
export async function openGrpcAuthorizer(target: AuthorizerTarget, { svids, learn }: OwnParts): Promise<Wire<CheckRequest, CheckResponse>> {
  const Client = await loaded();
  if (target.tls?.spiffe === undefined) return new Channel(Client, target, { learn });
  const ours = (): Promise<Svid> => svidFor({ target: nameOf(target), timeoutMs: target.timeoutMs, svids });
  const open = (svid: Svid) => ({ of: svid, channel: new Channel(Client, target, { svid }) });
  let made = open(await ours());
  return {
    async ask(request) {
      const svid = await ours();
      if (made.of !== svid) {
        made.channel.retire();
        made = open(svid);
      }
      return made.channel.ask(request);
    },
    close: () => made.channel.close(),
  };
}

const nameOf = ({ url }: AuthorizerTarget): string => `the authorizer ${new URL(url).host}`;

/** As whom a channel speaks: by an SVID, or by files whose keys are told of. */
interface Shown extends Pick<OwnParts, 'learn'> {
  readonly svid?: Svid;
}

/** What it shows of us, it shows for as long as it lasts. */
class Channel implements Wire<CheckRequest, CheckResponse> {
  readonly #client: InstanceType<ServiceClientConstructor>;
  readonly #check: Check;
  readonly #host: string;
  readonly #timeoutMs: number;
  #flying = 0;
  #retired = false;

  constructor(Client: ServiceClientConstructor, target: AuthorizerTarget, shown: Shown) {
    const { host, port, protocol } = new URL(target.url);
    const secured = protocol === 'https:';
    const { trust, options } = secured ? securedBy(target, shown) : { trust: credentials.createInsecure(), options: {} };
    this.#client = new Client(port === '' ? `${host}:${secured ? 443 : 80}` : host, trust, { ...OPTIONS, ...options });
    this.#client.getChannel().getConnectivityState(true);
    this.#check = (this.#client['Check'] as unknown as Check).bind(this.#client);
    this.#host = host;
    this.#timeoutMs = target.timeoutMs;
  }

  ask(request: CheckRequest): Promise<CheckResponse> {
    this.#flying += 1;
    return new Promise((resolve, reject) => {
      this.#check(request, { deadline: Date.now() + this.#timeoutMs }, (error, answer) => {
        this.#flying -= 1;
        if (error === null && answer !== undefined) resolve(answer);
        else reject(faultOf(this.#host, error));
        if (this.#retired) this.retire();
      });
    });
  }

  /** Closes it as soon as nothing waits. */
  retire(): void {
    this.#retired = true;
    if (this.#flying === 0) this.close();
  }

  close(): void {
    this.#client.close();
  }
}

function securedBy(target: AuthorizerTarget, { svid, learn }: Shown): { readonly trust: ChannelCredentials; readonly options: Record<string, string> } {
  if (target.tls === undefined) return { trust: credentials.createSsl(), options: {} };
  const { context, verify, hostname } = securedChannel(target.tls, { target: nameOf(target), learn }, svid);
  return { trust: credentials.createFromSecureContext(context, verify), options: hostname === undefined ? {} : { 'grpc.ssl_target_name_override': hostname } };
}

function faultOf(host: string, error: { readonly code: number; readonly details: string } | null): Fault {
  const code = error?.code ?? status.UNKNOWN;
  if (code === status.DEADLINE_EXCEEDED) return new Fault('timeout', `${host} did not answer in time`, { target: host });
  return new Fault('upstream', `${host} answered ${status[code] ?? code}: ${(error?.details ?? '').slice(0, DETAILS_CHARS_MAX)}`, { target: host, reason: status[code] ?? String(code) });
}
