/** An agent of SPIFFE for tests: a gRPC server on a socket that streams what it is given to all who say they mean it. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Server, ServerCredentials, type ServerWritableStream, type ServiceDefinition, type UntypedHandleCall, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** Of certificates.ts, as far as it is needed here. */
interface Authority {
  readonly ca: string;
  issue(subject: string, names: { readonly uris: readonly string[] }, validMs?: number): { readonly cert: string; readonly key: string };
}

const { SpiffeWorkloadAPI } = loadSync('protocol/spiffe/workload.proto', { keepCase: true });

/** As the contract writes one. */
export interface Given {
  readonly spiffe_id: string;
  readonly x509_svid: Buffer;
  readonly x509_svid_key: Buffer;
  readonly bundle: Buffer;
}

export interface WorkloadApi {
  readonly endpoint: string;
  /** To all who listen, and to all who come. */
  give(...svids: readonly Given[]): void;
  /** With the authorities of these trust domains from now on. */
  federate(authorities: Readonly<Record<string, Authority>>): void;
  /** The agent dies: its streams break, and its socket goes. */
  stop(): Promise<void>;
}

const derOf = (pem: string): Buffer => new X509Certificate(pem).raw;

/** An SVID of the authority, which is also the bundle. */
export function svidOf(authority: Authority, id: string, validMs?: number): Given {
  const { cert, key } = authority.issue('workload', { uris: [id] }, validMs);
  return { spiffe_id: id, x509_svid: derOf(cert), x509_svid_key: createPrivateKey(key).export({ type: 'pkcs8', format: 'der' }), bundle: derOf(authority.ca) };
}

export async function startWorkloadApi(path: string, ...first: readonly Given[]): Promise<WorkloadApi> {
  const server = new Server();
  const streams = new Set<ServerWritableStream<object, object>>();
  let svids = first;
  let bundles: Readonly<Record<string, Buffer>> = {};
  const fetch = (call: ServerWritableStream<object, object>): void => {
    if (call.metadata.get('workload.spiffe.io')[0] !== 'true') return void call.emit('error', { code: status.INVALID_ARGUMENT, details: 'security header missing' });
    if (svids.length === 0) return void call.emit('error', { code: status.PERMISSION_DENIED, details: 'no identity issued' });
    streams.add(call);
    call.on('cancelled', () => streams.delete(call));
    call.write({ svids, federated_bundles: bundles });
  };
  server.addService(SpiffeWorkloadAPI as ServiceDefinition, { FetchX509SVID: fetch as unknown as UntypedHandleCall });
  await new Promise<void>((resolve, reject) => server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error))));
  return {
    endpoint: `unix://${path}`,
    give(...given) {
      svids = given;
      for (const stream of streams) stream.write({ svids, federated_bundles: bundles });
    },
    federate(authorities) {
      bundles = Object.fromEntries(Object.entries(authorities).map(([domain, { ca }]) => [`spiffe://${domain}`, derOf(ca)]));
    },
    async stop() {
      server.forceShutdown();
      await rm(path, { force: true });
    },
  };
}
