/** Servers as the document names them: `host`, `host:port` or a URL, without a path; `unix:/path` where sockets may be. */

const UNIX = 'unix:';
/** As Linux has it, with its last zero. */
const SOCKET_PATH_BYTES_MAX = 107;

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

/** Where one server is: for a socket only the scheme of its origin counts. */
export interface Address {
  readonly origin: string;
  /** Of a Unix socket. */
  readonly socketPath?: string | undefined;
}

/** As `originOf`, of a server that may be at a Unix socket. */
export function addressOf(host: string, secured: boolean): Address | { readonly problem: string } {
  if (!host.startsWith(UNIX)) return originOf(host, secured);
  const socketPath = host.slice(UNIX.length).replace(/^\/\/(?=\/)/, '');
  if (!socketPath.startsWith('/')) return { problem: 'not a socket: expected "unix:/path"' };
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_BYTES_MAX) return { problem: `the path of a socket has at most ${SOCKET_PATH_BYTES_MAX} bytes` };
  return { origin: secured ? 'https://localhost' : 'http://localhost', socketPath };
}

/** What operators call it by: `name:8080`, `unix:/path`. */
export const nameOf = ({ origin, socketPath }: Address): string => (socketPath === undefined ? origin.slice(origin.indexOf('://') + '://'.length) : `${UNIX}${socketPath}`);
