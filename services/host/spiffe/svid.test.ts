import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../test/world/certificates.ts';
import { type Given, svidOf } from '../../../test/world/workload-api.ts';
import { readSvid, refusePeer, spiffeIdOf } from './svid.ts';

const ID = 'spiffe://td.test/ns/tools/sa/gateway';
const authority = makeAuthority();
const good = svidOf(authority, ID);
const read = (given: Partial<Given>): unknown => readSvid({ svids: [{ ...good, ...given }] }, Date.now());
const certificateWith = (...uris: readonly string[]): X509Certificate => new X509Certificate(authority.issue('peer', { uris }).cert);

describe('what an agent gives', () => {
  test('is our certificate, its key and the authorities of our trust domain; the first of several counts', () => {
    const svid = readSvid({ svids: [good, svidOf(authority, 'spiffe://td.test/other')] }, Date.now());
    expect(svid).toMatchObject({ id: ID, trustDomain: 'td.test' });
    expect(new X509Certificate(svid.cert).raw).toEqual(good.x509_svid);
    expect(new X509Certificate(svid.ca).raw).toEqual(good.bundle);
  });

  test('has authorities one after the other, and as many as a large company has', () => {
    const bundle = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => good.bundle));
    expect(readSvid({ svids: [{ ...good, bundle: bundle(1_000) }] }, Date.now()).ca.match(/BEGIN/g)).toHaveLength(1_000);
    expect(() => read({ bundle: bundle(1_001) })).toThrow('the trust bundle has more than 1000 certificates');
    expect(() => read({ x509_svid: Buffer.concat(Array.from({ length: 17 }, () => good.x509_svid)) })).toThrow('the SVID has more than 16 certificates');
  });

  test.each<[string, Partial<Given>]>([
    ['the SVID cannot be read', { x509_svid: Buffer.from('planted') }],
    ['the SVID cannot be read', { x509_svid: good.x509_svid.subarray(0, 40) }],
    ['the SVID cannot be read', { x509_svid: Buffer.concat([good.x509_svid, Buffer.from([0x30])]) }],
    ['the SVID has no certificate', { x509_svid: Buffer.alloc(0) }],
    ['the trust bundle is empty', { bundle: Buffer.alloc(0) }],
    ['the trust bundle cannot be read', { bundle: Buffer.alloc(64) }],
    ['the private key cannot be read', { x509_svid_key: Buffer.from('planted') }],
    ['the private key is not that of the SVID', { x509_svid_key: svidOf(authority, ID).x509_svid_key }],
    ['the certificate does not carry the SPIFFE id it was given with', { spiffe_id: 'spiffe://td.test/other' }],
    ['the certificate does not carry the SPIFFE id it was given with', { x509_svid: good.bundle }],
    ['the SVID has ended', svidOf(authority, ID, -1_000)],
  ])('and is of no use is refused: %s', (message, given) => {
    expect(() => read(given)).toThrow(message);
  });

  test('may be nothing', () => {
    expect(() => readSvid({ svids: [] }, Date.now())).toThrow('it gave no SVID');
  });
});

describe('the authorities of other trust domains', () => {
  const partner = makeAuthority('partner');
  const bundle = new X509Certificate(partner.ca).raw;
  const federatedIn = (bundles: Record<string, Buffer>): unknown => readSvid({ svids: [good], federated_bundles: bundles }, Date.now()).federated;

  test('come by name, and are none where ours is federated with nobody', () => {
    expect(federatedIn({ 'spiffe://partner.test': bundle })).toEqual(new Map([['partner.test', `${new X509Certificate(bundle)}`]]));
    expect(federatedIn({})).toEqual(new Map());
  });

  test('are of 256 domains, and of no more', () => {
    const of = (count: number): Record<string, Buffer> => Object.fromEntries(Array.from({ length: count }, (_, n) => [`spiffe://d${n}.test`, bundle]));
    expect(federatedIn(of(256))).toHaveProperty('size', 256);
    expect(() => federatedIn(of(257))).toThrow('it gave the bundles of more than 256 other trust domains');
  });

  test.each<[Record<string, Buffer>, string]>([
    [{ 'spiffe://partner.test': Buffer.alloc(0) }, 'the trust bundle of spiffe://partner.test is empty'],
    [{ 'spiffe://partner.test': Buffer.from('planted') }, 'the trust bundle of spiffe://partner.test cannot be read'],
    [{ planted: bundle }, 'a bundle of another trust domain has no SPIFFE id'],
  ])('are refused whole where one of them is of no use', (bundles, message) => {
    expect(() => federatedIn(bundles)).toThrow(message);
  });
});

describe('the certificate of a peer', () => {
  test.each([
    ['spiffe://td.test/a', 'spiffe://td.test/a'],
    ['spiffe://td.test', 'spiffe://td.test'],
    ['spiffe://td.test/a/../b', undefined],
    ['spiffe://td.test/', undefined],
    ['spiffe://TD.test/a', undefined],
    ['spiffe://user@td.test/a', undefined],
    ['spiffe://td.test:1/a', undefined],
    ['https://td.test/a', undefined],
    [`spiffe://td.test/${'a'.repeat(2_048 - 17)}`, `spiffe://td.test/${'a'.repeat(2_048 - 17)}`],
    [`spiffe://td.test/${'a'.repeat(2_048 - 16)}`, undefined],
  ])('with %s is of %s', (uri, expected) => {
    expect(spiffeIdOf(certificateWith(uri))).toBe(expected);
  });

  test('is no SVID with several ids, or none, or as an authority', () => {
    for (const certificate of [certificateWith('spiffe://td.test/a', 'spiffe://td.test/b'), certificateWith(), new X509Certificate(authority.ca)]) expect(refusePeer(certificate, 'td.test')?.message).toBe('the certificate is no SVID');
    expect(refusePeer(undefined, 'td.test')?.message).toBe('the certificate is no SVID');
  });

  test('is welcome in its own trust domain', () => {
    expect(refusePeer(certificateWith('spiffe://td.test/a'), 'td.test')).toBeUndefined();
    expect(refusePeer(certificateWith('spiffe://td.test.other/a'), 'td.test')?.message).toBe('the certificate is of another trust domain');
  });
});
