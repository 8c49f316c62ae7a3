import { describe, expect, test } from 'vitest';
import { isDialable, networkOf } from './dialable.ts';

describe('an address is dialled', () => {
  test.each(['93.184.216.34', '10.1.2.3', '172.16.0.1', '192.168.1.1', '100.64.0.1', '2606:2800:220:1::1', 'fd12:3456::1', '::ffff:10.1.2.3', '64:ff9b::5db8:d822'])('%s', (address) => {
    expect(isDialable(address, [])).toBe(true);
  });
});

describe('an address is not dialled that is of our machine, our link, or where credentials are served', () => {
  test.each([
    '127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '0.0.0.0', '0.1.2.3', '::',
    '169.254.169.254', '169.254.1.1', 'fe80::1', 'fe80::1%eth0', '::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe',
    'fd00:ec2::254', 'fd20:ce::254', '100.100.100.200', '168.63.129.16', '192.0.0.192',
    '224.0.0.1', '255.255.255.255', 'ff02::1', '2002:7f00:1::', '2001:0:7f00:1::', 'localhost', '',
  ])('%s', (address) => {
    expect(isDialable(address, [])).toBe(false);
  });
});

test('what the operator names is dialled, and nothing beside it', () => {
  const allowed = ['127.0.0.1', '169.254.10.0/24', 'fe80::/10'].map((text) => networkOf(text)).filter((network) => network !== undefined);
  expect(allowed).toHaveLength(3);
  expect(['127.0.0.1', '::ffff:127.0.0.1', '169.254.10.7', 'fe80::1'].map((address) => isDialable(address, allowed))).toEqual([true, true, true, true]);
  expect(['127.0.0.2', '169.254.169.254', '::1'].map((address) => isDialable(address, allowed))).toEqual([false, false, false]);
});

test.each(['10.0.0.0/33', 'example.com', '10.0.0', '/8'])('%s is no network', (text) => {
  expect(networkOf(text)).toBeUndefined();
});
