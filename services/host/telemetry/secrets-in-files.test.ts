import { expect, test } from 'vitest';
import { secretsIn } from './secrets-in-files.ts';

const PEM = (kind: string): string => `-----BEGIN ${kind}-----\nAAAA\nBBBB\n-----END ${kind}-----`;

test.each<[string, string, string[]]>([
  ['each private key and each line of it, and no certificate', `${PEM('CERTIFICATE')}\n${PEM('PRIVATE KEY')}\n${PEM('RSA PRIVATE KEY')}\n`, [PEM('PRIVATE KEY'), 'AAAA', 'BBBB', PEM('RSA PRIVATE KEY'), 'AAAA', 'BBBB']],
  ['the hashes of passwords, and no name', '# people\nalice:$2y$05$abc\r\nbob smith:{SHA}xyz=\n\n', ['$2y$05$abc', '{SHA}xyz=']],
  ['the private members of keys', '{ "keys": [{ "kty": "EC", "x": "public", "d": "mine-alone" }, { "kty": "oct", "k" : "shared" }] }', ['mine-alone', 'shared']],
  ['nothing in a bundle of authorities', PEM('CERTIFICATE'), []],
])('secret in a file is %s', (_, text, secrets) => {
  expect(secretsIn(text)).toEqual(secrets);
});
