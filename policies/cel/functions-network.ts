/** Addresses and networks, after the extensions of Kubernetes: `cidr("10.0.0.0/8").containsIP(source.address)`. */
import { CelScalar, celFunc, celMethod } from '@bufbuild/cel';
import type { CelFunc, CelValue } from '@bufbuild/cel';
import ipaddr from 'ipaddr.js';
import { opaque, opaqueIn } from './opaque.ts';
import type { Address, Opaque } from './opaque.ts';

const { BOOL, DYN, INT, STRING } = CelScalar;
const ADDRESS_CHARS_MAX = 64;

/** Four decimal numbers, or IPv6 without a zone: 010.1 and 0x7f.1 are addresses to some and something else to others. */
function isAddress(text: string): boolean {
  if (text.length > ADDRESS_CHARS_MAX || text.includes('%')) return false;
  return text.includes(':') ? ipaddr.IPv6.isValid(text) : /^(?:(?:0|[1-9]\d{0,2})(?:\.(?!$)|$)){4}$/.test(text) && ipaddr.IPv4.isValid(text);
}

/** An IPv4 address that is written as an IPv6 one is the IPv4 address: sockets of both families report it so. */
function address(text: string): Address {
  if (!isAddress(text)) throw new Error('not an IP address');
  return ipaddr.process(text);
}

type Network = Extract<Opaque, { kind: 'cidr' }>;

function network(text: string): Network {
  const [written = '', bits = '', ...more] = text.split('/');
  if (more.length > 0 || !isAddress(written) || !/^(?:0|[1-9]\d{0,2})$/.test(bits)) throw new Error('not a CIDR');
  const parsed = ipaddr.parse(written);
  if (Number(bits) > (parsed.kind() === 'ipv4' ? 32 : 128)) throw new Error('not a CIDR');
  return { kind: 'cidr', address: parsed, bits: Number(bits) };
}

function addressIn(value: CelValue): Address {
  if (typeof value === 'string') return address(value);
  const content = opaqueIn(value);
  if (content?.kind !== 'ip') throw new Error('not an IP address');
  return content.address;
}

function networkIn(value: CelValue): Network {
  if (typeof value === 'string') return network(value);
  const content = opaqueIn(value);
  if (content?.kind !== 'cidr') throw new Error('not a CIDR');
  return content;
}

const holds = (outer: Network, inner: Address): boolean => outer.address.kind() === inner.kind() && inner.match(outer.address, outer.bits);

function masked({ address: base, bits }: Network): Network {
  const bytes = base.toByteArray().map((byte, index) => byte & (0xff << (8 - Math.min(8, Math.max(0, bits - index * 8)))) & 0xff);
  return { kind: 'cidr', address: ipaddr.fromByteArray(bytes), bits };
}

/** `range` is what ipaddr.js calls the block the address is in. */
const inRange = (name: string, test: (found: Address) => boolean): CelFunc => celMethod(name, DYN, [], BOOL, function () { return test(addressIn(this)); });

const isLinkLocalMulticast = (found: Address): boolean => {
  const bytes = found.toByteArray();
  return found.kind() === 'ipv4' ? bytes[0] === 224 && bytes[1] === 0 && bytes[2] === 0 : bytes[0] === 0xff && ((bytes[1] ?? 0) & 0x0f) === 2;
};

/** As Go means it: everything but what is none, everybody, oneself, or a neighbour. Private addresses are in it. */
const isGlobalUnicast = (found: Address): boolean => !['unspecified', 'broadcast', 'loopback', 'multicast', 'linkLocal'].includes(found.range());

export const networkFunctions: readonly CelFunc[] = [
  celFunc('isIP', [STRING], BOOL, isAddress),
  celFunc('ip', [STRING], DYN, (text) => opaque({ kind: 'ip', address: address(text) })),
  celMethod('family', DYN, [], INT, function () { return addressIn(this).kind() === 'ipv4' ? 4n : 6n; }),
  inRange('isUnspecified', (found) => found.range() === 'unspecified'),
  inRange('isLoopback', (found) => found.range() === 'loopback'),
  inRange('isLinkLocalMulticast', isLinkLocalMulticast),
  inRange('isLinkLocalUnicast', (found) => found.range() === 'linkLocal'),
  inRange('isGlobalUnicast', isGlobalUnicast),
  celFunc('cidr', [STRING], DYN, (text) => opaque(network(text))),
  celMethod('containsIP', DYN, [DYN], BOOL, function (inner) { return holds(networkIn(this), addressIn(inner)); }),
  celMethod('containsCIDR', DYN, [DYN], BOOL, function (inner) {
    const [outer, other] = [networkIn(this), networkIn(inner)];
    return other.bits >= outer.bits && holds(outer, other.address);
  }),
  celMethod('ip', DYN, [], DYN, function () { return opaque({ kind: 'ip', address: networkIn(this).address }); }),
  celMethod('masked', DYN, [], DYN, function () { return opaque(masked(networkIn(this))); }),
  celMethod('prefixLength', DYN, [], INT, function () { return BigInt(networkIn(this).bits); }),
  celFunc('string', [DYN], STRING, (value) => {
    const content = opaqueIn(value);
    if (content?.kind === 'ip') return content.address.toString();
    if (content?.kind === 'cidr') return `${content.address.toString()}/${content.bits}`;
    throw new Error('no text stands for it');
  }),
];
