import { expect, test } from 'vitest';
import { plainAddress } from './source.ts';

test.each([
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['::FFFF:10.1.2.3', '10.1.2.3'],
  ['10.1.2.3', '10.1.2.3'],
  ['fe80::ffff:1', 'fe80::ffff:1'],
  ['', ''],
])('the peer %j is the address %j, however its socket writes it', (written, address) => {
  expect(plainAddress(written)).toBe(address);
});
