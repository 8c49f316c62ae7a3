/**
 * Which listener of a TLS port a connection belongs to, and whether a request may use it.
 *
 * A1 The server name of the handshake chooses, as a Host does: exact, then the longer wildcard, then the listener without a
 *    hostname. A name that fits none, or no name, gets that last one, or the first of the port.
 * A2 A connection is admitted by the hostname of its listener and by who signs its client certificates. A request whose Host
 *    belongs to a listener with another admission is misdirected (421, RFC 9110 §15.5.20): what a client has proven to one
 *    listener, or did not have to prove, is worth nothing at another. So is one that was made before `root` was set.
 */
import type { Listener } from '#protocol/config/generation.ts';
import { compileListeners } from '#protocol/config/route-lookup.ts';

/** Undefined = a connection without TLS. */
export type Admission = string | undefined;

export const admissionOf = ({ hostname, tls }: Pick<Listener, 'hostname' | 'tls'>): Admission =>
  tls === undefined ? undefined : JSON.stringify([hostname ?? '*', tls.root ?? '', ...(tls.spiffe === true ? ['spiffe'] : [])]);

/** @param listeners of one port, at least one. */
export function compileServerNames(listeners: readonly Listener[]): (serverName: string | undefined) => Listener | undefined {
  const listenerOf = compileListeners(listeners);
  const fallback = listeners.find(({ hostname }) => hostname === undefined) ?? listeners[0];
  return (serverName) => (serverName === undefined ? fallback : (listenerOf(serverName) ?? fallback));
}
