/** An authorizer that speaks Envoy's `Check` (protocol/envoy). */
import { fileURLToPath } from 'node:url';
import { type ChannelCredentials, type ServiceClientConstructor, credentials, makeClientConstructor, status } from '@grpc/grpc-js';
import { type ServiceDefinition, load } from '@grpc/proto-loader';
import { securedChannel } from '#host/secured-connector.ts';
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

/** @throws Fault `upstream` when a file of its `backendTLS` cannot be used. */
export async function openGrpcAuthorizer({ url, tls, timeoutMs }: AuthorizerTarget): Promise<Wire<CheckRequest, CheckResponse>> {
  const Client = await loaded();
  const { host, port, protocol } = new URL(url);
  const secured = protocol === 'https:';
  const channel = secured ? securedBy(tls, host) : { trust: credentials.createInsecure(), options: {} };
  const client = new Client(port === '' ? `${host}:${secured ? 443 : 80}` : host, channel.trust, { ...OPTIONS, ...channel.options });
  client.getChannel().getConnectivityState(true);
  const check = (client['Check'] as unknown as Check).bind(client);
  return {
    ask: (request) =>
      new Promise((resolve, reject) => {
        check(request, { deadline: Date.now() + timeoutMs }, (error, answer) => {
          if (error === null && answer !== undefined) resolve(answer);
          else reject(faultOf(host, error));
        });
      }),
    close: () => client.close(),
  };
}

function securedBy(tls: AuthorizerTarget['tls'], host: string): { readonly trust: ChannelCredentials; readonly options: Record<string, string> } {
  if (tls === undefined) return { trust: credentials.createSsl(), options: {} };
  const { context, verify, hostname } = securedChannel(tls, `the authorizer ${host}`);
  return { trust: credentials.createFromSecureContext(context, verify), options: hostname === undefined ? {} : { 'grpc.ssl_target_name_override': hostname } };
}

function faultOf(host: string, error: { readonly code: number; readonly details: string } | null): Fault {
  const code = error?.code ?? status.UNKNOWN;
  if (code === status.DEADLINE_EXCEEDED) return new Fault('timeout', `${host} did not answer in time`, { target: host });
  return new Fault('upstream', `${host} answered ${status[code] ?? code}: ${(error?.details ?? '').slice(0, DETAILS_CHARS_MAX)}`, { target: host, reason: status[code] ?? String(code) });
}
