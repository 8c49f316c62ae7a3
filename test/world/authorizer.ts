/** Authorizers for tests: a gRPC server made from Envoy's own .proto files, and a plain HTTP one. Both remember what they were asked. */
import { once } from 'node:events';
import { type IncomingHttpHeaders, type RequestListener, createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Server, ServerCredentials, type ServiceDefinition, type UntypedHandleCall, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTOS = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');
const SERVICE = 'envoy.service.auth.v3.Authorization';
const definitions = loadSync('envoy/service/auth/v3/external_auth.proto', {
  includeDirs: ['envoy-api', 'googleapis', 'protoc-gen-validate', 'xds'].map((folder) => join(PROTOS, folder)), keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
});

/** What Envoy's contract has of a question, as far as tests look at it. */
export interface Checked {
  readonly source: { readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } }; readonly principal: string };
  readonly destination: { readonly address: { readonly socket_address: { readonly port_value: number } } };
  readonly request: { readonly time: { readonly seconds: number }; readonly http: { readonly method: string; readonly path: string; readonly host: string; readonly scheme: string; readonly protocol: string; readonly size: number; readonly headers: Record<string, string>; readonly body: string; readonly raw_body: Uint8Array } };
  readonly context_extensions: Record<string, string>;
  readonly metadata_context: { readonly filter_metadata: Record<string, { readonly fields: object }> };
}

/** A CheckResponse as it is written in Envoy's names; bytes, to be sent as they are; an error of gRPC; or nothing, ever. */
export type CheckReply = object | Uint8Array | { readonly code: number; readonly details: string } | undefined;

export interface Authorizer {
  /** `127.0.0.1:<port>`, or the socket */
  readonly host: string;
  close(): Promise<void>;
}

/** PEM. */
export interface ServedTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
}

export interface GrpcAuthorizer extends Authorizer {
  readonly seen: readonly Checked[];
  /** The metadata that came with each. */
  readonly told: readonly Readonly<Record<string, string>>[];
}

/** @param at a port, 0 = a free one; or `unix:/path`. @param tls absent = none; with `ca`, clients must show a certificate. */
export async function startGrpcAuthorizer(decide: (checked: Checked) => CheckReply, at: number | string = 0, tls?: ServedTls): Promise<GrpcAuthorizer> {
  const seen: Checked[] = [];
  const { Check } = definitions[SERVICE] as ServiceDefinition;
  const serialize = (value: object): Buffer => (value instanceof Uint8Array ? Buffer.from(value) : (Check as { responseSerialize: (value: object) => Buffer }).responseSerialize(value));
  const server = new Server();
  const told: Record<string, string>[] = [];
  const answer = ((call: { request: { attributes: Checked }; metadata: { getMap(): Record<string, string> } }, callback: (error: object | null, value?: object) => void) => {
    const { attributes } = call.request;
    seen.push(attributes);
    told.push(call.metadata.getMap());
    const reply = decide(attributes);
    if (reply === undefined) return;
    if ('details' in reply) callback(reply);
    else callback(null, reply);
  }) as unknown as UntypedHandleCall;
  server.addService({ Check: { ...(Check as object), responseSerialize: serialize } } as unknown as ServiceDefinition, { Check: answer });
  const bound = await new Promise<number>((resolve, reject) => server.bindAsync(typeof at === 'string' ? at : `127.0.0.1:${at}`, credentialsOf(tls), (error, port) => (error === null ? resolve(port) : reject(error))));
  return { host: typeof at === 'string' ? at : `127.0.0.1:${bound}`, seen, told, close: async () => server.forceShutdown() };
}

const credentialsOf = (tls: ServedTls | undefined): ServerCredentials =>
  tls === undefined ? ServerCredentials.createInsecure() : ServerCredentials.createSsl(tls.ca ?? null, [{ cert_chain: tls.cert, private_key: tls.key }], tls.ca !== undefined);

export const UNAVAILABLE = { code: status.UNAVAILABLE, details: 'not today' };

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface HttpAuthorizer extends Authorizer {
  readonly seen: readonly Asked[];
  /** Connections to it. */
  open(): Promise<number>;
  /** Closes them. */
  drop(): void;
}

/** @param decide answers, or does not. */
export async function startHttpAuthorizer(decide: (asked: Asked, response: Parameters<RequestListener>[1]) => void, port = 0, tls?: ServedTls): Promise<HttpAuthorizer> {
  const seen: Asked[] = [];
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const asked = { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') };
      seen.push(asked);
      decide(asked, response);
    });
  };
  const server = tls === undefined ? createServer(listener) : createSecureServer({ ...tls, requestCert: tls.ca !== undefined }, listener);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    drop: () => server.closeAllConnections(),
    open: () => promisify(server.getConnections.bind(server))(),
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
