/** Plain HTTP backends: `host` or `service` of a route's backend, the `host` of a top-level one that a route names, or `dynamic`, whichever server a request is for. */
import type { DynamicDocument } from './backends.ts';
import { type Connection, compileConnection, ofHttp } from './compile-connection.ts';
import type { Compiling } from './compiling.ts';
import type { HostAddress, HttpBackend, PolicyDocuments } from './generation.ts';
import { addressOf } from './host-url.ts';
import type { Path } from './problem.ts';
import { type Context, urlFinder } from './server-urls.ts';
import type { ServiceRef } from './services.ts';

export interface HostPlace {
  readonly key: string;
  /** Of the backend that has the host. */
  readonly path: Path;
  readonly name?: string | undefined;
  readonly policies: PolicyDocuments;
  readonly connection: Connection;
  readonly variantOf?: string | undefined;
}

/** @param where a host, or a service of the document. Undefined after a complaint. */
export function httpBackend(where: string | ServiceRef, { key, path, name, policies, connection, variantOf }: HostPlace, context: Context): HttpBackend | undefined {
  const { compiling } = context;
  const secured = connection.tls !== undefined;
  const endpoints = typeof where === 'string' ? hostAddress(where, secured, [...path, 'host'], compiling) : serviceAddresses(where, secured, [...path, 'service'], compiling);
  const [first] = endpoints ?? [];
  if (endpoints === undefined || first === undefined) return undefined;
  const socket = endpoints.find(({ socketPath }) => socketPath !== undefined);
  if (socket !== undefined && connection.tunnel !== undefined) return void compiling.error(connection.tunnel.path, 'a proxy cannot connect us to a socket of this machine');
  const connected = compileConnection(first.origin, ofHttp(connection), { compiling, findUrl: urlFinder(context) });
  if (connected === undefined) return undefined;
  const known = name ?? (typeof where === 'string' ? compiling.quote([...path, 'host']) : `${where.name}:${where.port}`);
  return { kind: 'http', key, name: known, endpoints, policies, ...connected, ...(variantOf === undefined ? {} : { variantOf }) };
}

function hostAddress(host: string, secured: boolean, at: Path, compiling: Compiling): readonly HostAddress[] | undefined {
  const address = addressOf(host, secured);
  return 'problem' in address ? void compiling.error(at, address.problem) : [address];
}

const serviceAddresses = (service: ServiceRef, secured: boolean, at: Path, compiling: Compiling): readonly HostAddress[] | undefined =>
  compiling.service(service, at)?.map(({ host, weight }) => ({ origin: `${secured ? 'https' : 'http'}://${host}`, weight }));

const DYNAMIC = 'dynamic';

/** Undefined after a complaint. */
export function dynamicBackend({ target }: DynamicDocument, { key, path, policies, connection }: HostPlace, context: Context): HttpBackend | undefined {
  const { compiling } = context;
  const { auth } = connection;
  if (auth !== undefined) return void compiling.error(auth.path, 'callers choose the server of a dynamic backend, and whichever they name would be told this credential', 'name the server: host');
  const connected = compileConnection('', ofHttp(connection), { compiling, findUrl: urlFinder(context) });
  if (connected === undefined) return undefined;
  compiling.expressions([...path, DYNAMIC]);
  return { kind: 'http', key, name: DYNAMIC, endpoints: [], dynamic: target == null ? {} : { target }, policies, ...connected };
}

/** Policies that judge MCP, and would judge nothing of plain HTTP. */
const MCP_ONLY = ['mcpAuthentication', 'mcpAuthorization', 'toolPinning'] as const;

/** @param path of the policies, on a way that leads to hosts. */
export function refuseMcpOnly(policies: Readonly<Partial<Record<string, unknown>>> | null | undefined, path: Path, compiling: Compiling): void {
  for (const id of MCP_ONLY) if (policies?.[id] != null) compiling.error([...path, id], 'it judges MCP, and this leads to a host, by plain HTTP: nothing would enforce it');
}
