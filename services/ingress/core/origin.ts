/**
 * Who may talk to a listener from a browser (MCP "Security": Origin must be validated; DNS rebinding).
 *
 * O1 On a loopback bind, Host must name this machine by a loopback name, or be a hostname the configuration serves: a page
 *    that rebinds its name to 127.0.0.1 still sends its own name.
 * O2 Origin, when there is one, must be a loopback origin, the very host the request came to, or one the operator trusts (cors).
 */
import { hostOf } from '#protocol/config/route-lookup.ts';

const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

export interface OriginRules {
  /** The bind is a loopback address, or the backend asks for dnsRebindingProtection. */
  readonly loopbackOnly: boolean;
  /** The listener or route was chosen by a hostname of its own: its Host is one the operator expects. */
  readonly hostNamed: boolean;
  readonly trusts: (origin: string) => boolean;
}

/** Why the request is refused; undefined when it is not. */
export function refuseOrigin(host: string, origin: string | undefined, rules: OriginRules): 'host' | 'origin' | undefined {
  const name = hostOf(host);
  if (rules.loopbackOnly && !rules.hostNamed && !LOOPBACK.has(name)) return 'host';
  if (origin === undefined || rules.trusts(origin)) return undefined;
  const from = originHost(origin);
  if (from === undefined) return 'origin';
  return from === name || (rules.loopbackOnly && LOOPBACK.has(from)) ? undefined : 'origin';
}

function originHost(origin: string): string | undefined {
  const match = /^https?:\/\/([^/]+)$/.exec(origin);
  return match?.[1] === undefined ? undefined : hostOf(match[1]);
}
