import { expect, test } from 'vitest';
import { metadataOf } from './well-known.ts';

test.each([
  ['/mcp', []],
  ['/.well-known/other', []],
  ['/.well-known/oauth-protected-resource', ['/']],
  ['/.well-known/oauth-protected-resource/', ['/']],
  ['/.well-known/oauth-protected-resource/mcp', ['/mcp']],
  ['/.well-known/oauth-protected-resource/a/b/mcp', ['/a/b/mcp']],
  ['/.well-known/oauth-protected-resources/mcp', []],
  ['/.well-known/oauth-authorization-server', ['/']],
  ['/.well-known/oauth-authorization-server/mcp', ['/mcp']],
  ['/.well-known/oauth-authorization-server/mcp/client-registration', ['/mcp/client-registration', '/mcp']],
  ['/.well-known/oauth-authorization-server/mcp/authorize', ['/mcp/authorize', '/mcp']],
  ['/.well-known/oauth-authorization-server/mcp/token', ['/mcp/token', '/mcp']],
  ['/.well-known/oauth-authorization-server/client-registration', ['/client-registration', '/']],
])('the path %s is about the metadata of %s', (path, resources) => expect(metadataOf(path)).toEqual(resources));
