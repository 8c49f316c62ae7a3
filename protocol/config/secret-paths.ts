/** Where in a document credentials for servers and identity providers are written: known by their place, before anything else of it is. */
import type { Path } from './problem.ts';

const POLICY = 'backendAuth';
const KEYS: ReadonlySet<string | number | undefined> = new Set(['key', 'value', 'clientSecret', 'client_secret', 'signingKey', 'credential', 'accessKeyId', 'secretAccessKey', 'sessionToken']);

/** What is below these is none, whatever it is called: tags have keys and values, too. */
const PLAIN: ReadonlySet<string | number> = new Set(['backendTLS', 'assumeRole', 'additionalParams', 'claims']);

/** Policies that are clients of an authorization server or identity provider: who asks it for tokens needs their secret, and nobody else. */
const CLIENTS: ReadonlySet<string | number | undefined> = new Set(['mcpAuthentication', 'oidc']);

const isClientSecret = (path: Path): boolean => CLIENTS.has(path.at(-2)) && path.at(-1) === 'clientSecret';

/** What is written into them is one, wherever it goes. */
const CREDENTIAL_HEADERS: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie', 'api-key', 'x-api-key']);

const isHeader = (path: Path): boolean => path.at(-3) === 'requestHeaderModifier' && CREDENTIAL_HEADERS.has(String(path.at(-1)).toLowerCase());

/** Of a process that a connector starts. */
const isProcessVariable = (path: Path): boolean => path.includes('targets') && path.at(-3) === 'stdio' && path.at(-2) === 'env';

/** For a target alone: nobody else sends it. */
const isTargetHeader = (path: Path): boolean => path.at(-3) === 'requestHeaderModifier' && path.at(-2) !== 'remove' && path.at(-6) === 'targets';

const isCredential = (path: Path): boolean =>
  (path.includes(POLICY) && KEYS.has(path.at(-1)) && !path.some((step) => PLAIN.has(step))) || isProcessVariable(path) || isTargetHeader(path);

/** Of a client, with its key: nobody else's business, and no secret. */
const isCertificate = (path: Path): boolean => path.includes(POLICY) && path.at(-1) === 'certificate';

/** Settings that nothing here acts on. */
const UNUSED: ReadonlySet<string> = new Set(['caAuthToken', 'xdsAuthToken', 'database']);
const isUnused = ([first, second, third]: Path): boolean => first === 'config' && (UNUSED.has(String(second)) || (second === 'tracing' && third === 'headers'));

/** The places below `path` where ingress, too, needs what `value` has as text. */
export const openPaths = (value: unknown, path: Path): Path[] => textPaths(value, path, (at) => isHeader(at) && !isCredential(at));

/** A text that is one variable, and nothing of its own. */
const REFERENCE = /^\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})$/;

/** The places in a document where a secret stands that ingress does not need. */
export const sealedPaths = (document: unknown): Path[] => textPaths(document, [], (path, text) => !REFERENCE.test(text) && (isCredential(path) || isClientSecret(path) || isSessionKey(path) || isUnused(path)));

/** The places in a document where the key of a caller stands, as it is presented. */
export const callerKeyPaths = (document: unknown): Path[] => textPaths(document, [], (path) => path.at(-4) === 'apiKey' && path.at(-3) === 'keys' && path.at(-1) === 'key');

function textPaths(value: unknown, path: Path, wanted: (path: Path, text: string) => boolean): Path[] {
  if (typeof value === 'string') return wanted(path, value) ? [path] : [];
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((inner, index) => textPaths(inner, [...path, index], wanted));
  return Object.entries(value).flatMap(([key, inner]) => textPaths(inner, [...path, key], wanted));
}

/** In the place of a text that is not for a process. */
export const WITHHELD = 'withheld';
/** Of the same shape as one, and nobody's. */
const NO_SESSION_KEY = '0'.repeat(64);

/** The same in every process, whichever secrets of it that knows. @param path where in the document it stands. */
export function withoutSecrets(value: unknown, path: Path): unknown {
  if (typeof value === 'string') return isCredential(path) || isClientSecret(path) ? WITHHELD : value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((inner: unknown, index) => withoutSecrets(inner, [...path, index]));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutSecrets(inner, [...path, key])]));
}

/**
 * What processes of these services do not get to know of a document: what stands at a path for them, or undefined for what it
 * says. Credentials, and headers for targets, are for connectors, and for the policy service, which judges documents; the session key is for ingress, too; secrets of
 * clients are for the policy service alone.
 */
export function withheldFrom(services: readonly string[]): (path: Path) => string | undefined {
  const knows = (...some: readonly string[]): boolean => services.some((service) => some.includes(service));
  const [credentials, sessionKey, clients] = [knows('connector', 'policy'), knows('connector', 'policy', 'ingress'), knows('policy')];
  return (path) => {
    const forConnectors = isCredential(path) || isCertificate(path);
    if ((!credentials && forConnectors) || (!clients && isClientSecret(path))) return WITHHELD;
    return !sessionKey && isSessionKey(path) ? NO_SESSION_KEY : undefined;
  };
}

export const SESSION_KEY: Path = ['config', 'session', 'key'];

export const isSessionKey = (path: Path): boolean => path.length === SESSION_KEY.length && SESSION_KEY.every((step, index) => path[index] === step);
