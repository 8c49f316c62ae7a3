/** Who is connected, with the names of the reference's `source` variables. Read from the socket when somebody asks, once a connection. */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Connection } from '#policies/networkAuthorization/policy.ts';
import type { Source, SourceTls } from '#policies/policy.ts';

const known = new WeakMap<Socket, Source>();

type Destination = Pick<Source, 'address' | 'port'>;

/** Of connections that came out of a tunnel: who opened it, and where they asked it to lead. */
export interface Tunnelled {
  readonly source: Source;
  readonly destination: Destination;
}

const tunnelled = new WeakMap<Socket, Tunnelled>();

export function cameByTunnel(socket: Socket, by: Tunnelled): void {
  known.delete(socket);
  tunnelled.set(socket, by);
}

/** An encrypted connection came the way of the one that carries it. */
export function cameAs(secured: Socket, raw: Socket): void {
  const by = tunnelled.get(raw);
  if (by !== undefined) tunnelled.set(secured, by);
}

export function sourceOf(socket: Socket): Source {
  const before = known.get(socket);
  if (before !== undefined) return before;
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  const tls = certificate === undefined ? undefined : certificateFacts(certificate);
  const by = tunnelled.get(socket)?.source;
  const source: Source = by === undefined ? { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0, tls } : { ...by, tls: tls ?? by.tls };
  known.set(socket, source);
  return source;
}

/** Where it has reached us, or was asked to lead. */
export function destinationOf(socket: Socket): Destination {
  const { localAddress = '', localPort = 0 } = socket;
  return tunnelled.get(socket)?.destination ?? { address: plainAddress(localAddress), port: localPort };
}

/** What rules for connections know of one. */
export function connectionOf(socket: Socket): Connection {
  const { remoteAddress = '', remotePort = 0 } = socket;
  return { source: { address: plainAddress(remoteAddress), port: remotePort }, destination: destinationOf(socket) };
}

const MAPPED = /^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i;

/** A socket that takes both kinds of addresses writes IPv4 ones as IPv6: rules mean the address itself. */
export const plainAddress = (address: string): string => address.replace(MAPPED, '');

const ISTIO_ID = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/;

function certificateFacts(certificate: X509Certificate): SourceTls {
  const names = alternativeNames(certificate.subjectAltName);
  const uris = names.filter(({ kind }) => kind === 'URI').map(({ value }) => value);
  const { CN } = certificate.toLegacyObject().subject as { readonly CN?: string | readonly string[] };
  const [, trustDomain, namespace, serviceAccount] = uris.map((uri) => ISTIO_ID.exec(uri)).find((found) => found !== null) ?? [];
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    subjectCn: typeof CN === 'string' ? CN : CN?.[0],
    subjectAltNames: names.map(({ value }) => value),
    certificate: certificate.toString(),
    spiffeId: uris.find((uri) => uri.startsWith('spiffe://')),
    identity: trustDomain === undefined || namespace === undefined || serviceAccount === undefined ? undefined : { trustDomain, namespace, serviceAccount },
  };
}

/** node writes one attribute a line, and escapes control characters and commas inside. */
const oneLine = (name: string): string => name.split('\n').join(', ');

interface AlternativeName {
  readonly kind: string;
  readonly value: string;
}

/** node writes `DNS:a.example, URI:"spiffe://…, odd"`, with JSON quotes around what would be ambiguous. */
const ALTERNATIVE = /(?:^|, )(DNS|IP Address|URI|[^:,"]+):("(?:[^"\\]|\\.)*"|[^,]*)/g;
const SHOWN: ReadonlySet<string> = new Set(['DNS', 'IP Address', 'URI']);

function alternativeNames(text: string | undefined): AlternativeName[] {
  return [...(text ?? '').matchAll(ALTERNATIVE)].flatMap(([, kind = '', value = '']) =>
    SHOWN.has(kind) ? [{ kind, value: value.startsWith('"') ? (JSON.parse(value) as string) : value }] : [],
  );
}
