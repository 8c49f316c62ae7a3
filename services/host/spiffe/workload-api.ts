/** The stream of an agent (protocol/spiffe). Loaded when a configuration names `spiffe`. */
import { fileURLToPath } from 'node:url';
import { type ClientReadableStream, Metadata, type ServiceClientConstructor, credentials, makeClientConstructor, status } from '@grpc/grpc-js';
import { type ServiceDefinition, load } from '@grpc/proto-loader';
import type { X509SvidResponse } from './svid.ts';

const PROTO = fileURLToPath(new URL('../../../protocol/spiffe/workload.proto', import.meta.url));
const SERVICE = 'SpiffeWorkloadAPI';
/** Bundles of a large company; the library's own default, said here. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

const OPTIONS = {
  'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.use_local_subchannel_pool': 1,
};

let loading: Promise<ServiceClientConstructor> | undefined;

const loaded = (): Promise<ServiceClientConstructor> =>
  (loading ??= load(PROTO, { keepCase: true, longs: Number, enums: Number, defaults: true }).then((definitions) => makeClientConstructor(definitions[SERVICE] as ServiceDefinition, SERVICE)));

type Fetch = (request: object, metadata: Metadata) => ClientReadableStream<X509SvidResponse>;

interface Following {
  readonly answered: (response: X509SvidResponse) => void;
  /** Once. */
  readonly ended: (why: string) => void;
}

/** @param endpoint `unix:/path`, `unix:///path` or `tcp://address:port`. Returns what ends it, after which nothing is told. */
export async function followWorkloadApi(endpoint: string, { answered, ended }: Following): Promise<() => void> {
  const Client = await loaded();
  const client = new Client(endpoint.replace(/^tcp:(?:\/\/)?/, ''), credentials.createInsecure(), OPTIONS);
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true'); // who was tricked into speaking HTTP to the socket does not say this
  const stream = (client['FetchX509SVID'] as unknown as Fetch).call(client, {}, metadata);
  let over = false;
  const end = (why?: string): void => {
    if (over) return;
    over = true;
    stream.cancel();
    client.close();
    if (why !== undefined) ended(why);
  };
  stream.on('data', (response) => void (over || answered(response)));
  stream.on('error', (error: Error & { readonly code?: number }) => end(status[error.code ?? status.UNKNOWN] ?? String(error.code)));
  stream.on('end', () => end('it ended the stream'));
  return () => end();
}
