/**
 * A request for the OAuth metadata of a path: the route that serves the path also serves its metadata, though its matches
 * say nothing of /.well-known (RFC 8414 §3.1 and RFC 9728 §3.1 put the words in front of the path).
 */
const DOCUMENTS = ['/.well-known/oauth-protected-resource', '/.well-known/oauth-authorization-server'];
/** What may stand behind the path in the URL of an endpoint. */
const ENDPOINTS = ['/client-registration', '/authorize', '/token'];

/**
 * `/mcp` for `/.well-known/oauth-protected-resource/mcp`, `/` for the document of the host; empty for any other request. What
 * looks like the endpoint of a path may be the document of one that is called so: that comes first.
 */
export function metadataOf(path: string): readonly string[] {
  const document = DOCUMENTS.find((start) => path.startsWith(start));
  if (document === undefined) return [];
  const rest = path.slice(document.length);
  if (rest !== '' && !rest.startsWith('/')) return [];
  const endpoint = ENDPOINTS.find((end) => rest.endsWith(end));
  return [rest, ...(endpoint === undefined ? [] : [rest.slice(0, -endpoint.length)])].map((resource) => (resource === '' ? '/' : resource));
}
