import { expect, test } from 'vitest';
import { metadataOf } from './well-known.ts';

test.each([
  ['/mcp', undefined],
  ['/.well-known/other', undefined],
  ['/.well-known/oauth-protected-resource', '/'],
  ['/.well-known/oauth-protected-resource/', '/'],
  ['/.well-known/oauth-protected-resource/mcp', '/mcp'],
  ['/.well-known/oauth-protected-resource/a/b/mcp', '/a/b/mcp'],
  ['/.well-known/oauth-protected-resources/mcp', undefined],
  ['/.well-known/oauth-authorization-server', '/'],
  ['/.well-known/oauth-authorization-server/mcp', '/mcp'],
  ['/.well-known/oauth-authorization-server/mcp/client-registration', '/mcp'],
  ['/.well-known/oauth-authorization-server/client-registration', '/'],
])('the path %s is about the metadata of %s', (path, resource) => expect(metadataOf(path)).toBe(resource));
