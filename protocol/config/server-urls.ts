/** Where servers are that a document names: by `host`, or by the name of one of its `backends` that is a host. */
import type { BackendDocument } from './backends.ts';
import type { Connection, FindUrl, UrlPlace } from './compile-connection.ts';
import type { Compiling } from './compiling.ts';
import { meant } from './issues.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';

/** A top-level backend. */
export interface Declared {
  readonly document: BackendDocument;
  readonly path: Path;
  readonly connection: Connection;
}

export interface Context {
  /** By name. */
  readonly declared: ReadonlyMap<string, Declared>;
  readonly compiling: Compiling;
}

interface Place {
  readonly host?: string | undefined;
  readonly port?: number | null | undefined;
  readonly path?: string | null | undefined;
}

const EXPECTED = 'expected "https://host/path", "host", or host with port and path';

export const urlFinder =
  (context: Context): FindUrl =>
  (place, at) =>
    place.backend === undefined ? hostUrl(place, at, context.compiling) : backendUrl(place, at, context);

/** An absolute URL from `host` alone (a URL or a name), or from `host`, `port` and `path`. */
function hostUrl(place: Place, { path, secured, defaultPath }: UrlPlace, compiling: Compiling): string | undefined {
  const host = place.host ?? '';
  const written = /^[a-z][a-z0-9+.-]*:\/\//i.test(host) ? host : `${secured ? 'https' : 'http'}://${host}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  const at = [...path, 'host'];
  if (url === undefined || url.hostname === '') return void compiling.error(at, `not a host: ${EXPECTED}`);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return void compiling.error(at, `an MCP server is reached over http or https: ${EXPECTED}`);
  if (url.username !== '' || url.password !== '') return void compiling.error(at, 'credentials do not belong in a URL: they would be seen in logs and records');
  if (place.port != null) {
    if (url.port !== '') return void compiling.error([...path, 'port'], 'the port is written twice: here and in host');
    url.port = String(place.port);
  }
  if (place.path == null) {
    if (url.pathname === '/' && !/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*\//i.test(written)) url.pathname = defaultPath;
    return url.href;
  }
  if (url.pathname !== '/' || url.search !== '') return void compiling.error([...path, 'path'], 'the path is written twice: here and in host');
  const [pathname = '', search] = place.path.split('?', 2);
  url.pathname = pathname.startsWith('/') ? pathname : `/${pathname}`;
  if (search !== undefined) url.search = search;
  return url.href;
}

function backendUrl(place: Place & { readonly backend?: string | undefined }, { path, secured, defaultPath }: UrlPlace, { declared, compiling }: Context): string | undefined {
  const at = [...path, 'backend'];
  const found = declared.get(place.backend ?? '');
  if (found === undefined) return void unknownBackend(at, { declared, compiling });
  const { document, path: its } = found;
  if (document.host === undefined) return void compiling.error(at, `the backend "${compiling.quote(at)}" is not a host: a target needs one to connect to`);
  const [unenforced] = Object.keys(compiling.policies(document.policies, [...its, 'policies'])).filter((id) => id !== 'requestHeaderModifier');
  if (unenforced !== undefined) return void compiling.error(at, `the backend "${compiling.quote(at)}" has ${unenforced}, which holds for routes that lead there: on the way of a target nothing enforces it`);
  return hostUrl({ host: document.host, path: place.path }, { path: its, secured, defaultPath }, compiling);
}

export function unknownBackend(path: Path, { declared, compiling }: Context): void {
  const name = compiling.quote(path);
  const names = [...declared.values()].map((one) => compiling.quote([...one.path, 'name']));
  const valid = names.length === 0 ? 'there is no top-level backends section' : `known: ${names.slice(0, 10).join(', ')}`;
  compiling.error(path, `there is no backend "${name}"`, meant(name, names) ?? valid);
}

export function declare(backends: readonly BackendDocument[], compiling: Compiling, connectionOf: (document: BackendDocument, path: Path) => Connection): Context['declared'] {
  const declared = new Map<string, Declared>();
  for (const [index, backend] of backends.entries()) {
    const path = ['backends', index];
    const first = declared.get(backend.name);
    if (first === undefined) declared.set(backend.name, { document: backend, path, connection: connectionOf(backend, path) });
    else compiling.error([...path, 'name'], `the backend name "${compiling.quote([...path, 'name'])}" is already taken by ${pathText(first.path)}`);
  }
  return declared;
}
