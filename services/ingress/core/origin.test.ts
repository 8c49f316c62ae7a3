import { describe, expect, test } from 'vitest';
import { type OriginRules, refuseOrigin } from './origin.ts';

const rules = (partial: Partial<OriginRules> = {}): OriginRules => ({ loopbackOnly: true, hostNamed: false, trusts: () => false, ...partial });
const LOOPBACK = rules();
const PUBLIC = rules({ loopbackOnly: false });

describe('on a loopback bind', () => {
  test.each([
    ['localhost:3000', undefined],
    ['127.0.0.1', undefined],
    ['[::1]:3000', undefined],
    ['LOCALHOST', undefined],
    ['evil.example', 'host'],
    ['evil.example:3000', 'host'],
    ['localhost.evil.example', 'host'],
    ['127.0.0.1.evil.example', 'host'],
    ['', 'host'],
  ])('Host %j is refused as %s', (host, expected) => {
    expect(refuseOrigin(host, undefined, LOOPBACK)).toBe(expected);
  });

  test.each([
    [undefined, undefined],
    ['http://localhost', undefined],
    ['http://127.0.0.1:5173', undefined],
    ['https://[::1]:8080', undefined],
    ['http://evil.example', 'origin'],
    ['http://localhost.evil.example', 'origin'],
    ['http://localhost@evil.example', 'origin'],
    ['http://evil.example/localhost', 'origin'],
    ['file://localhost', 'origin'],
    ['null', 'origin'],
    ['', 'origin'],
  ])('Origin %j is refused as %s', (origin, expected) => {
    expect(refuseOrigin('localhost:3000', origin, LOOPBACK)).toBe(expected);
  });

  test('a host the configuration names is expected, and may be its own origin', () => {
    const named = rules({ hostNamed: true });
    expect(refuseOrigin('mcp.example', undefined, named)).toBeUndefined();
    expect(refuseOrigin('mcp.example:3000', 'https://mcp.example', named)).toBeUndefined();
    expect(refuseOrigin('mcp.example', 'https://evil.example', named)).toBe('origin');
  });

  test('a rebound name is refused for its Host, however well it agrees with its Origin', () => {
    expect(refuseOrigin('evil.example', 'http://evil.example', LOOPBACK)).toBe('host');
  });

  test('an origin the operator trusts passes, and does not excuse the Host', () => {
    const trusting = rules({ trusts: (origin) => origin === 'https://app.example' });
    expect(refuseOrigin('localhost', 'https://app.example', trusting)).toBeUndefined();
    expect(refuseOrigin('evil.example', 'https://app.example', trusting)).toBe('host');
  });
});

describe('on a public bind', () => {
  test.each([
    ['mcp.example', undefined, undefined],
    ['mcp.example', 'https://mcp.example', undefined],
    ['mcp.example:443', 'https://mcp.example:8443', undefined],
    ['mcp.example', 'https://other.example', 'origin'],
    ['mcp.example', 'http://localhost:5173', 'origin'],
    ['mcp.example', 'null', 'origin'],
  ])('Host %j with Origin %j is refused as %s', (host, origin, expected) => {
    expect(refuseOrigin(host, origin, PUBLIC)).toBe(expected);
  });
});
