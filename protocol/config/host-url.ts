/** Servers as the document names them: `host`, `host:port` or a URL, without a path. */

const HAS_SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** @param secured without a scheme, it is https. @returns the origin, or what is wrong with the text. */
export function originOf(host: string, secured: boolean): { readonly origin: string } | { readonly problem: string } {
  const written = HAS_SCHEME.test(host) ? host : `${secured ? 'https' : 'http'}://${host}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  if (url === undefined || url.hostname === '' || (url.protocol !== 'http:' && url.protocol !== 'https:')) return { problem: 'not a host: expected "host", "host:port", or an http or https URL' };
  if (url.username !== '' || url.password !== '') return { problem: 'credentials do not belong in a URL: they would be seen in logs and records' };
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') return { problem: 'expected a host without a path: what is asked for there is said elsewhere' };
  if (secured && url.protocol === 'http:') return { problem: 'says http, which is not secured: write https, or a host without a scheme, beside backendTLS' };
  return { origin: url.origin };
}
