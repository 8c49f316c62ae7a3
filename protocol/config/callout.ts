/**
 * Servers that the gateway asks on its own behalf: authorizers, and endpoints that give tokens. Where they are and how they are
 * reached is written with the same keys for all of them.
 */
import { z } from 'zod';
import { type BackendTls, backendTls, backendTlsSchema } from './backend-tls.ts';
import { parseDuration } from './duration.ts';
import { type HeaderModifier, requestHeaderModifierSchema } from './header-modifier.ts';
import { type Address, addressOf, nameOf } from './host-url.ts';
import { type Key, type OwnAuth, keysOf, ownAuth, ownAuthSchema, ownCredentialsShape } from './own-credentials.ts';
import { count, duration, exactlyOne, flag, nonEmpty, section } from './section.ts';
import { type ServiceRef, serviceRefSchema } from './services.ts';

const TIME_MS_MAX = 60_000;
/** As of the configuration format. */
const KEEP_ALIVE_MS = 180_000;

const brief = duration.refine((text) => (parseDuration(text) ?? 0) > 0 && (parseDuration(text) ?? 0) <= TIME_MS_MAX, 'more than nothing, and at most 60s');

export const httpVersionSchema = z.enum(['HTTP/1.1', 'HTTP/2.0']);
export const keepalivesSchema = z.strictObject({ enabled: flag.nullish(), time: duration.nullish(), interval: duration.nullish(), retries: count.nullish() });

const tcp = z.strictObject({ connectTimeout: brief.nullish(), keepalives: keepalivesSchema.nullish() });

/** CONNECT carries one credential, in a header of its own. */
const proxyAuth = section('tunnelAuth', { key: ownCredentialsShape.key }).superRefine(({ key }, context) => {
  if (key === undefined) context.addIssue({ code: 'custom', message: 'one of key is required' });
  else if (key.location.in !== 'header') context.addIssue({ code: 'custom', path: ['key', 'location'], message: 'a proxy is told it in a header' });
});

const place = { host: nonEmpty.optional(), backend: nonEmpty.optional(), service: serviceRefSchema.optional() };
export const oneServer = exactlyOne(Object.keys(place));

export const tunnelSchema = z.strictObject({
  proxy: z.strictObject(place).superRefine(oneServer),
  policies: section('tunnelPolicies', { backendTLS: backendTlsSchema.nullish(), backendAuth: proxyAuth.nullish(), tcp: tcp.nullish() }).nullish(),
});

const policies = section('calloutPolicies', {
  requestHeaderModifier: requestHeaderModifierSchema.nullish(),
  backendTLS: backendTlsSchema.nullish(),
  backendAuth: ownAuthSchema.nullish(),
  http: z.strictObject({ version: httpVersionSchema.nullish(), requestTimeout: brief.nullish() }).nullish(),
  tcp: tcp.nullish(),
  backendTunnel: tunnelSchema.nullish(),
});

export const calloutShape = { ...place, policies: policies.nullish() };

export type CalloutPolicies = z.output<typeof policies>;
export type TunnelDocument = z.output<typeof tunnelSchema>;
export type TunnelPolicies = NonNullable<TunnelDocument['policies']>;

export interface CalloutPlace {
  readonly host?: string | undefined;
  readonly backend?: string | undefined;
  readonly service?: ServiceRef | undefined;
}

export interface CalloutDocument extends CalloutPlace {
  readonly policies?: CalloutPolicies | null | undefined;
}

/** One server, of several that do the same. */
export interface CalloutEndpoint extends Address {
  /** How often it is chosen, against the others. */
  readonly weight: number;
}

/** An HTTP proxy that connects us to a server (CONNECT). */
export interface Tunnel {
  /** Of the proxy, or of several that do the same. */
  readonly origins: readonly string[];
  readonly tls?: BackendTls | undefined;
  readonly auth?: Key | undefined;
  readonly connectMs?: number | undefined;
  /** As of what it leads to. */
  readonly keepAliveMs?: number | undefined;
}

/** How a server is reached, whichever of its endpoints. */
export interface Reaching {
  readonly tls?: BackendTls | undefined;
  /** Undefined = as nobody. */
  readonly auth?: OwnAuth | undefined;
  readonly headers?: HeaderModifier | undefined;
  /** The only one that is spoken; undefined = what fits. */
  readonly version?: 1 | 2 | undefined;
  readonly connectMs?: number | undefined;
  /** TCP keep-alive: how long a connection is idle before it is looked after; 0 = it is not. */
  readonly keepAliveMs?: number | undefined;
  /** From the question to the end of the answer. */
  readonly timeoutMs?: number | undefined;
  readonly tunnel?: Tunnel | undefined;
}

/** Made of a document alone: a class, so that nobody can write one. */
export class Callout {
  /** What operators call it by: `name:8080`, `unix:/path`, or that of a service. */
  readonly name: string;
  readonly endpoints: readonly [CalloutEndpoint, ...CalloutEndpoint[]];
  readonly reaching: Reaching;
  /** By which a connector knows it, who asks it for processes that have no credentials; undefined = it takes none. */
  readonly key: string | undefined;

  constructor({ name, endpoints, reaching, key }: Pick<Callout, 'name' | 'endpoints' | 'reaching'> & { readonly key?: string | undefined }) {
    this.name = name;
    this.endpoints = endpoints;
    this.reaching = reaching;
    this.key = key;
  }
}

/** It is shown who asks: only a process that has credentials can. */
export const hasCredentials = ({ auth, tunnel }: Reaching): boolean => auth !== undefined || tunnel?.auth !== undefined;

/** @param tunnel as it was found. */
export function reachingOf({ requestHeaderModifier, backendTLS, backendAuth, http, tcp: connecting }: CalloutPolicies, tunnel: Tunnel | undefined): Reaching {
  return {
    ...(backendTLS == null ? {} : { tls: backendTls(backendTLS) }),
    ...(backendAuth == null ? {} : { auth: ownAuth(backendAuth) }),
    ...(requestHeaderModifier == null ? {} : { headers: requestHeaderModifier }),
    ...(http?.version == null ? {} : { version: versionOf(http.version) }),
    ...(http?.requestTimeout == null ? {} : { timeoutMs: parseDuration(http.requestTimeout) }),
    ...connectingOf(connecting),
    ...(tunnel === undefined ? {} : { tunnel }),
  };
}

export const versionOf = (written: z.output<typeof httpVersionSchema>): 1 | 2 => (written === 'HTTP/1.1' ? 1 : 2);

export type Keepalives = z.output<typeof keepalivesSchema>;

/** How long a connection is idle before it is looked after; 0 = it is not. How often then, and how many times, is the system's to say. */
export const keepAliveMsOf = ({ enabled, time }: Keepalives): number => (enabled === false ? 0 : ((time == null ? undefined : parseDuration(time)) ?? KEEP_ALIVE_MS));

function connectingOf(written: z.output<typeof tcp> | null | undefined): Pick<Reaching, 'connectMs' | 'keepAliveMs'> {
  const { connectTimeout, keepalives } = written ?? {};
  return {
    ...(connectTimeout == null ? {} : { connectMs: parseDuration(connectTimeout) }),
    ...(keepalives == null ? {} : { keepAliveMs: keepAliveMsOf(keepalives) }),
  };
}

/** @param how with what the backend of the proxy says. */
export function tunnelTo(origins: readonly string[], how: TunnelPolicies): Tunnel {
  const [auth] = keysOf(how.backendAuth ?? {});
  return {
    origins,
    ...(how.backendTLS == null ? {} : { tls: backendTls(how.backendTLS) }),
    ...(auth === undefined ? {} : { auth }),
    ...connectingOf(how.tcp),
  };
}

/** The server at a `host`, where no document is around it. */
export function calloutAt({ host = '', policies: how }: CalloutDocument): Callout | { readonly problem: string } {
  const found = addressOf(host, how?.backendTLS != null);
  if ('problem' in found) return found;
  return new Callout({ name: nameOf(found), endpoints: [{ ...found, weight: 1 }], reaching: reachingOf(how ?? {}, undefined) });
}
