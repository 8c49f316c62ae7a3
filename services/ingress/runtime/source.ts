/** Who is connected, with the names of the reference's `source` variables. Read from the socket when somebody asks, once a connection. */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Source, SourceTls } from '#policies/policy.ts';

const known = new WeakMap<Socket, Source>();

export function sourceOf(socket: Socket): Source {
  const before = known.get(socket);
  if (before !== undefined) return before;
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  const source: Source = { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0, tls: certificate === undefined ? undefined : certificateFacts(certificate) };
  known.set(socket, source);
  return source;
}

/** Where it has reached us. */
export const destinationOf = ({ localAddress = '', localPort = 0 }: Socket): Pick<Source, 'address' | 'port'> => ({ address: plainAddress(localAddress), port: localPort });

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
