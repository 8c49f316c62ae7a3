/**
 * Servers that are asked on the gateway's own behalf, as a document names them, become servers that can be asked: a `backend` of
 * the document is a host and how that is reached, unless it is said otherwise nearer; a `service` is its workloads.
 */
import { z } from 'zod';
import type { BackendDocument } from './backends.ts';
import { speaksForCaller } from './backend-auth.ts';
import { Callout, type CalloutDocument, type CalloutEndpoint, type CalloutPlace, type CalloutPolicies, type Keepalives, type Tunnel, type TunnelDocument, type TunnelPolicies, calloutShape, hasCredentials, reachingOf, tunnelTo } from './callout.ts';
import type { FindService } from './compile-services.ts';
import type { Compiling } from './compiling.ts';
import { type Address, addressOf, nameOf, originOf } from './host-url.ts';
import { meant } from './issues.ts';
import { digestOf } from './keys.ts';
import { type Path, pathText } from './problem.ts';
import { withoutSecrets } from './secret-paths.ts';
import type { ServiceRef } from './services.ts';

const calloutSchema = z.strictObject(calloutShape);

const CALLOUT_POLICIES: ReadonlySet<string> = new Set(['requestHeaderModifier', 'backendTLS', 'backendAuth', 'http', 'tcp', 'backendTunnel']);
const TUNNEL_POLICIES: ReadonlySet<string> = new Set(['backendTLS', 'backendAuth', 'tcp']);

/** Policies that have one server to ask, in their own document or in each entry of `conditional`. */
const CALLING: ReadonlySet<string> = new Set(['extAuthz']);

export const callsOut = (policy: string): boolean => CALLING.has(policy);

/** What a document has to say beside the callout itself. */
export interface Known {
  readonly backends: readonly BackendDocument[];
  readonly services: FindService;
  /** Of policies, those that are asked with credentials: filled here, by key. */
  readonly authorizers: Map<string, Callout>;
  readonly compiling: Pick<Compiling, 'error' | 'warn' | 'quote' | 'written'>;
}

export interface CalloutAt {
  readonly path: Path;
  /** Of a `host`, or of a `backend`'s: a URL, or the place of one that has no path; undefined after a complaint. @param secured without a scheme, it is https. */
  readonly addressOf: (secured: boolean) => string | Address | undefined;
}

export interface CompiledCallout {
  readonly callout: Callout;
  /** Undefined for a service. */
  readonly url: URL | undefined;
}

/** Undefined after a complaint. */
export function compileCallout(document: CalloutDocument, { path, addressOf: find }: CalloutAt, known: Known): CompiledCallout | undefined {
  const merged = policiesOf(document, path, known);
  if (merged === undefined) return undefined;
  const { policies, tunnelPath } = merged;
  const { backendTunnel } = policies;
  const tunnel = backendTunnel == null ? undefined : compileTunnel(backendTunnel, tunnelPath, known);
  if (backendTunnel != null && tunnel === undefined) return undefined;
  const secured = policies.backendTLS != null;
  const found = document.service === undefined ? atAddress(find(secured)) : atService(document.service, { path: [...path, 'service'], secured }, known);
  if (found === undefined) return undefined;
  if (tunnel !== undefined && found.endpoints[0].socketPath !== undefined) return void known.compiling.error(tunnelPath, 'a proxy cannot connect us to a socket of this machine');
  warnOfKeepalives(document.policies?.tcp?.keepalives ?? {}, [...path, 'policies', 'tcp', 'keepalives'], known.compiling);
  const reaching = reachingOf(policies, tunnel);
  const key = hasCredentials(reaching) ? keyOf(document, path, known) : undefined;
  return { callout: new Callout({ ...found, reaching, key }), url: found.url };
}

interface Found {
  readonly name: string;
  readonly endpoints: Callout['endpoints'];
  readonly url: URL | undefined;
}

function atAddress(found: string | Address | undefined): Found | undefined {
  if (found === undefined) return undefined;
  const url = new URL(typeof found === 'string' ? found : found.origin);
  const address = typeof found === 'string' ? { origin: url.origin } : found;
  return { name: nameOf(address), endpoints: [{ ...address, weight: 1 }], url };
}

function atService(service: ServiceRef, { path, secured }: { readonly path: Path; readonly secured: boolean }, { services }: Known): Found | undefined {
  const found = services(service, path)?.map(({ host, weight }): CalloutEndpoint => ({ origin: `${secured ? 'https' : 'http'}://${host}`, weight }));
  return found === undefined ? undefined : { name: `${service.name}:${service.port}`, endpoints: found as unknown as Callout['endpoints'], url: undefined };
}

interface Merged {
  readonly policies: CalloutPolicies;
  /** Where its tunnel is written. */
  readonly tunnelPath: Path;
}

/** Its own, over those of the backend it names. */
function policiesOf({ backend, policies: own }: CalloutDocument, path: Path, known: Known): Merged | undefined {
  const mine = { policies: own ?? {}, tunnelPath: [...path, 'policies', 'backendTunnel'] };
  if (backend === undefined) return mine;
  const its = backendPolicies(backend, [...path, 'backend'], CALLOUT_POLICIES, known);
  if (its === undefined) return undefined;
  const speaking = own?.backendAuth == null && its.policies.backendAuth != null ? speaksForCaller(its.policies.backendAuth) : undefined;
  if (speaking !== undefined) return complain(known, [...path, 'backend'], `has backendAuth.${speaking}, which speaks for a caller: here the gateway asks on its own behalf`);
  return { policies: { ...its.policies, ...withoutNulls(own ?? {}) }, tunnelPath: own?.backendTunnel == null ? [...its.path, 'backendTunnel'] : mine.tunnelPath };
}

interface BackendPolicies {
  readonly policies: NonNullable<BackendDocument['policies']>;
  readonly path: Path;
}

/** What a host backend says of how it is reached. Undefined after a complaint. @param served what can be done about it here. */
function backendPolicies(name: string, path: Path, served: ReadonlySet<string>, known: Known): BackendPolicies | undefined {
  const index = hostBackend(name, path, known);
  if (index === undefined) return undefined;
  const policies = withoutNulls(known.backends[index]?.policies ?? {});
  const foreign = Object.keys(policies).find((key) => !served.has(key));
  if (foreign !== undefined) return complain(known, path, `has ${foreign}, which holds for routes that lead there: here nothing enforces it`);
  return { policies, path: ['backends', index, 'policies'] };
}

const complain = ({ compiling }: Known, path: Path, why: string): undefined => void compiling.error(path, `the backend "${compiling.quote(path)}" ${why}`);

const withoutNulls = <T extends object>(all: T): T => Object.fromEntries(Object.entries(all).filter(([, value]) => value != null)) as T;

/** The place of a backend that is one server, among all. Undefined after a complaint. */
function hostBackend(name: string, path: Path, { backends, compiling }: Known): number | undefined {
  const index = backends.findIndex((backend) => backend.name === name);
  const quoted = compiling.quote(path);
  if (index < 0) return void compiling.error(path, `there is no backend "${quoted}"`, meant(quoted, backends.map((backend) => backend.name)));
  if (backends[index]?.host === undefined) return void compiling.error(path, `the backend "${quoted}" is not a host: there is no one server to ask`);
  return index;
}

/** The same for all processes, and, while nothing of it changes, for all generations. Two places have two: their secrets may differ, which nobody sees here. */
function keyOf({ backend }: CalloutPlace, path: Path, { backends, compiling }: Known): string {
  const places = [path, ...(backend === undefined ? [] : [['backends', backends.findIndex(({ name }) => name === backend)]])];
  return digestOf(places.map((place) => [pathText(place), withoutSecrets(compiling.written(place), place)]));
}

/** Of a `host` without a path, or of a `backend`'s. @param read what it may be. */
function addressAt({ host, backend }: CalloutPlace, path: Path, { backends, compiling }: Known, read: typeof addressOf = addressOf) {
  return (secured: boolean): Address | undefined => {
    const index = backend === undefined ? undefined : backends.findIndex((one) => one.name === backend);
    const found = read((index === undefined ? host : backends[index]?.host) ?? '', secured);
    if (!('problem' in found)) return found;
    if (index === undefined) return void compiling.error([...path, 'host'], found.problem);
    return void compiling.error([...path, 'backend'], `the host of the backend "${compiling.quote([...path, 'backend'])}": ${found.problem}`);
  };
}

/** Undefined after a complaint. */
export function compileTunnel({ proxy, policies: own }: TunnelDocument, path: Path, known: Known): Tunnel | undefined {
  const at = [...path, 'proxy'];
  const policies = proxy.backend === undefined ? (own ?? {}) : tunnelPolicies(proxy.backend, own ?? {}, { path: [...at, 'backend'], known });
  if (policies === undefined) return undefined;
  const secured = policies.backendTLS != null;
  if (proxy.service === undefined) {
    const found = addressAt(proxy, at, known, originOf)(secured);
    return found === undefined ? undefined : tunnelTo([found.origin], policies);
  }
  const found = atService(proxy.service, { path: [...at, 'service'], secured }, known);
  return found === undefined ? undefined : tunnelTo(found.endpoints.map(({ origin }) => origin), policies);
}

function tunnelPolicies(backend: string, own: TunnelPolicies, { path, known }: { readonly path: Path; readonly known: Known }): TunnelPolicies | undefined {
  const its = backendPolicies(backend, path, TUNNEL_POLICIES, known);
  if (its === undefined) return undefined;
  const { key, ...others } = withoutNulls(its.policies.backendAuth ?? {});
  if (Object.keys(others).length > 0 || (key !== undefined && key.location.in !== 'header')) return complain(known, path, 'has backendAuth that is no key in a header: a proxy is told nothing else');
  return { ...its.policies, ...(key === undefined ? {} : { backendAuth: { key } }), ...withoutNulls(own) };
}

/** @param path of the keepalives. */
export function warnOfKeepalives({ interval, retries }: Keepalives, path: Path, { warn }: Pick<Compiling, 'warn'>): void {
  for (const [key, value] of Object.entries({ interval, retries })) if (value != null) warn([...path, key], 'understood, not acted on: the system says how often a connection is looked after');
}

type Written = Readonly<Record<string, unknown>>;

const isMap = (value: unknown): value is Written => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * A policy whose servers can be asked, in the place of their names.
 * @param document of a policy, as it is written. What is no policy's document is left to its schema.
 */
export function withCallouts(document: unknown, path: Path, known: Known): unknown {
  if (!isMap(document)) return document;
  const { conditional } = document;
  if (!Array.isArray(conditional)) return withCallout(document, path, known);
  return { ...document, conditional: conditional.map((entry: unknown, index) => (isMap(entry) ? withCallout(entry, [...path, 'conditional', index], known) : entry)) };
}

function withCallout(document: Written, path: Path, known: Known): Written {
  const { host, backend, service, policies, ...rest } = document;
  const read = calloutSchema.safeParse({ host, backend, service, policies });
  if (!read.success) return document;
  const compiled = compileCallout(read.data, { path, addressOf: addressAt(read.data, path, known) }, known);
  if (compiled === undefined) return document;
  const { callout } = compiled;
  if (callout.key !== undefined) known.authorizers.set(callout.key, callout);
  return { ...rest, callout };
}
