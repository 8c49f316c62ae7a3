/**
 * Addresses that are nobody's business outside: this machine, private networks, link-local ones (where clouds keep their
 * metadata services), and what is no host at all. A name that leads to one of them is refused, unless the operator wrote
 * a name that is of the inside itself.
 */
import { lookup } from 'node:dns';
import type { LookupAddress, LookupOptions } from 'node:dns';
import { BlockList, isIP } from 'node:net';

const NOT_PUBLIC: readonly (readonly [network: string, bits: number])[] = [
  ['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12], ['192.0.0.0', 24],
  ['192.168.0.0', 16], ['198.18.0.0', 15], ['224.0.0.0', 4], ['240.0.0.0', 4],
  ['::', 127], ['fc00::', 7], ['fe80::', 10], ['ff00::', 8], ['64:ff9b::', 96], ['64:ff9b:1::', 48], ['2002::', 16],
];
/** Names that only an inside network has (RFC 6762, RFC 8375, and what clusters use). */
const INSIDE = /^[^.]+$|\.(?:local|localhost|internal|svc|lan|home\.arpa)$/;

const list = new BlockList();
for (const [network, bits] of NOT_PUBLIC) list.addSubnet(network, bits, network.includes(':') ? 'ipv6' : 'ipv4');

/** @param address an IP address; `::ffff:10.0.0.1` is 10.0.0.1. */
export function isPrivate(address: string): boolean {
  const family = isIP(address);
  return family === 0 || list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** @param host as in a URL: lower case, an IPv6 address in brackets. */
export function isInside(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 ? INSIDE.test(bare) : isPrivate(bare);
}

type Found = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

/** As `dns.lookup`, for `net.connect`: it looks, and the connection goes to what was looked at. */
export function lookupPublic(host: string, options: LookupOptions, found: Found): void {
  lookup(host, options, (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => {
    const all = Array.isArray(address) ? address.map((one) => one.address) : [address];
    if (error === null && all.some(isPrivate)) return found(Object.assign(new Error(`${host} leads to a private address`), { code: 'EPRIVATE' }), '', 4);
    found(error, address, family);
  });
}
