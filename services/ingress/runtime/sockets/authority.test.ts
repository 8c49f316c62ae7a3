import { X509Certificate, createPrivateKey } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../../test/world/certificates.ts';
import { Authority, type Validity } from './authority.ts';

const FIRST_OF_CERTIFICATES = /^-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/;

const day: Validity = { from: new Date('2026-03-01T00:00:00Z'), until: new Date('2026-03-02T00:00:00Z') };

describe.each(['ec', 'rsa'] as const)('an authority with a key of the kind %s', (kind) => {
  const made = makeAuthority('House authority', { kind });
  const own = new X509Certificate(made.ca);
  const issue = async (name: string, validity = day) => (await Authority.open({ cert: made.ca, key: made.key })).issue(name, validity);

  test('makes a certificate for one name and its own key, for servers, for as long as is said', async () => {
    const issued = await issue('api.example');
    const leaf = new X509Certificate(issued.cert);
    expect([leaf.verify(own.publicKey), leaf.checkIssued(own), leaf.ca, leaf.checkPrivateKey(createPrivateKey(issued.key))]).toEqual([true, true, false, true]);
    expect([leaf.subject, leaf.issuer, leaf.subjectAltName, leaf.keyUsage]).toEqual(['CN=api.example', 'CN=House authority', 'DNS:api.example', ['1.3.6.1.5.5.7.3.1']]);
    expect([leaf.validFromDate, leaf.validToDate]).toEqual([day.from, day.until]);
    expect([leaf.publicKey.asymmetricKeyType, leaf.publicKey.asymmetricKeyDetails]).toEqual(['ec', { namedCurve: 'prime256v1' }]);
    expect(issued.cert.replace(FIRST_OF_CERTIFICATES, '')).toBe(made.ca);
    expect(() => createSecureContext(issued)).not.toThrow();
  });

  test('never makes the same one twice', async () => {
    const [first, second] = await Promise.all([issue('api.example'), issue('api.example')]);
    const [one, two] = [new X509Certificate(first.cert), new X509Certificate(second.cert)];
    expect(one.serialNumber).not.toBe(two.serialNumber);
    expect(one.publicKey.equals(two.publicKey)).toBe(false);
  });
});

test('a name that is too long to be a common name stands in the alternative names alone', async () => {
  const { ca, key } = makeAuthority();
  const authority = await Authority.open({ cert: ca, key });
  const [longest, longer] = ['a'.repeat(56), 'a'.repeat(57)].map((label) => `${label}.example`);
  const subjectOf = async (name = ''): Promise<unknown> => {
    const { subject, subjectAltName } = new X509Certificate((await authority.issue(name, day)).cert);
    return [subject, subjectAltName];
  };
  expect(await subjectOf(longest)).toEqual([`CN=${longest}`, `DNS:${longest}`]);
  expect(await subjectOf(longer)).toEqual([undefined, `DNS:${longer}`]);
});

test('years after 2049 are written in full', async () => {
  const { ca, key } = makeAuthority();
  const until = new Date('2050-01-01T00:00:00Z');
  const { cert } = await (await Authority.open({ cert: ca, key })).issue('api.example', { ...day, until });
  expect(new X509Certificate(cert).validToDate).toEqual(until);
});
