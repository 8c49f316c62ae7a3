/**
 * A request for the OAuth metadata of a path: the route that serves the path also serves its metadata, though its matches
 * say nothing of /.well-known (RFC 8414 §3.1 and RFC 9728 §3.1 put the words in front of the path).
 */
const DOCUMENTS = ['/.well-known/oauth-protected-resource', '/.well-known/oauth-authorization-server'];
const REGISTRATION = '/client-registration';

/** `/mcp` for `/.well-known/oauth-protected-resource/mcp`, `/` for the document of the host; undefined for any other request. */
export function metadataOf(path: string): string | undefined {
  const document = DOCUMENTS.find((start) => path.startsWith(start));
  if (document === undefined) return undefined;
  const rest = path.slice(document.length);
  if (rest !== '' && !rest.startsWith('/')) return undefined;
  const resource = rest.endsWith(REGISTRATION) ? rest.slice(0, -REGISTRATION.length) : rest;
  return resource === '' ? '/' : resource;
}
