/**
 * Which addresses a `dynamic` backend may connect to: callers choose where it goes, so it must not lead to what trusts the
 * connector for where it is. Its own machine, its link, and where clouds serve credentials are refused unless the operator
 * names their network; private networks are not, since what runs there asks who is there, or should.
 */
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
export type Network = readonly [Address, number];

const REFUSED_RANGES: ReadonlySet<string> = new Set(['unspecified', 'broadcast', 'multicast', 'linkLocal', 'loopback', 'reserved', 'rfc6145', '6to4', 'teredo', 'discard', 'benchmarking', 'amt', 'as112', 'as112v6', 'orchid2', 'droneRemoteIdProtocolEntityTags', 'deprecatedSiteLocal', 'deprecatedOrchid']);

/** Where clouds serve what a machine is to know, credentials included, outside of the ranges above: AWS, Google, Alibaba, Azure. */
const METADATA: readonly Network[] = ['fd00:ec2::254/128', 'fd20:ce::254/128', '100.100.100.200/32', '168.63.129.16/32'].map((network) => ipaddr.parseCIDR(network));
/** Addresses of IPv4 as those see them who have IPv6 alone (RFC 6052). */
const TRANSLATED = 'rfc6052';
const IPV4_AT = 12;

/** `10.0.0.0/8` or an address; undefined for what is neither. */
export function networkOf(text: string): Network | undefined {
  const [written = ''] = text.split('/');
  if (!written.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(written)) return undefined;
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  if (!ipaddr.isValid(text)) return undefined;
  const address = ipaddr.parse(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/** @param allowed by the operator, whatever they are. */
export function isDialable(text: string, allowed: readonly Network[]): boolean {
  // With a zone it is one of the link.
  if (text.includes('%') || !ipaddr.isValid(text)) return false;
  const address = plain(ipaddr.process(text));
  if (allowed.some((network) => isIn(address, network))) return true;
  return !REFUSED_RANGES.has(address.range()) && !METADATA.some((network) => isIn(address, network));
}

const plain = (address: Address): Address => (address.range() === TRANSLATED ? new ipaddr.IPv4(address.toByteArray().slice(IPV4_AT)) : address);

const isIn = (address: Address, [network, bits]: Network): boolean => address.kind() === network.kind() && address.match(network as never, bits);
