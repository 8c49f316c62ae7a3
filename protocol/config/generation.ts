/**
 * A generation: one accepted configuration, whole, in the shape every process enforces. It is derived from the gateway
 * document (document.ts) by `compileDocument`; nothing here is written by hand and nothing changes after it is made.
 */
import type { BackendAuth } from './backend-auth.ts';
import type { BackendTls } from './backend-tls.ts';
import type { Callout, Tunnel } from './callout.ts';
import type { HeaderTexts } from './header-modifier.ts';
import type { Language } from './language.ts';
import type { Secret } from './secret.ts';
import type { TraceSettings } from './tracing.ts';
import type { ToolPinning } from './tool-pinning.ts';

export interface Generation {
  /** First 16 hex digits of the SHA-256 of the document: the same document gives the same generation. */
  readonly id: string;
  readonly binds: readonly Bind[];
  /** By key. A key is a subject token: it names the connector's queue group. */
  readonly backends: ReadonlyMap<string, Backend>;
  /** Servers that policies ask with credentials, by the key of each: connectors ask them for ingress. Absent when there are none. */
  readonly authorizers?: ReadonlyMap<string, Callout>;
  /** Policies of connections, by config key; absent when there are none. */
  readonly frontendPolicies?: PolicyDocuments;
  /** What its expressions are written in; absent when it adds nothing to what all know. */
  readonly language?: Language;
  readonly settings: Settings;
  /** Keys that were understood and are not acted on, as `path: why`. */
  readonly warnings: readonly string[];
}

export interface Settings {
  readonly sessionTtlMs: number;
  /** 64 hex digits, shared by ingress and connectors: what they tell each other of callers is sealed with it. */
  readonly sessionKey?: Secret | undefined;
  /** Where /metrics is served; undefined = the built-in default, 'off' = nowhere. */
  readonly statsAddr: string | undefined;
  readonly readinessAddr: string | undefined;
  readonly logLevel: string | undefined;
  readonly logFormat: 'text' | 'json' | undefined;
  /** Where spans go; the environment of a process goes before it. */
  readonly tracing?: TraceSettings | undefined;
  /** Of the SPIFFE Workload API; the environment of a process goes before it. */
  readonly spiffeEndpoint?: string | undefined;
}

export interface Bind {
  /** 0 of an internal bind = every port that no other bind has. */
  readonly port: number;
  /** It takes CONNECT and nothing else; what comes out of a tunnel goes to the bind of the port that was asked for. */
  readonly tunnels?: true;
  /** It has no socket: only tunnels lead to it. */
  readonly internal?: true;
  readonly listeners: readonly Listener[];
}

export interface Listener {
  readonly name: string;
  /** The gateway it is one of. */
  readonly gateway?: string | undefined;
  /** Exact or `*.wild`; undefined = every host. */
  readonly hostname: string | undefined;
  /** Undefined = plain HTTP. All listeners of a bind have it, or none. */
  readonly tls: ListenerTls | undefined;
  /** Gateway-phase policies by config key, already checked by each policy's own schema. */
  readonly policies: PolicyDocuments;
  readonly routes: readonly Route[];
}

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

export interface ListenerTls {
  /** Where in the document, for messages: `gateways.default.tls`. */
  readonly at: string;
  /** Paths of PEM files, as ingress sees them: the chain, its key, and who signs the certificates that clients must show. */
  readonly cert: string;
  readonly key: string;
  /** Undefined = clients are not asked for a certificate. */
  readonly root: string | undefined;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** In OpenSSL's names, the preferred first; empty = its own choice. */
  readonly cipherSuites: readonly string[];
  readonly keyExchangeGroups: readonly string[];
  /** Certificate, key and authorities come from the Workload API: `cert` and `key` are ''. Clients must show an SVID. */
  readonly spiffe?: true;
  /** `cert` and `key` are those of an authority, which makes a certificate for each server name that is asked for. */
  readonly dynamicCa?: true;
}

export type PolicyDocuments = Readonly<Record<string, unknown>>;

export interface Route {
  /** Unique in the generation; a subject token, used as metric label and in audit subjects. */
  readonly key: string;
  readonly name: string;
  readonly hostnames: readonly string[];
  readonly matches: readonly RouteMatch[];
  readonly policies: PolicyDocuments;
  readonly backends: readonly WeightedBackend[];
}

export interface WeightedBackend {
  readonly backend: string;
  readonly weight: number;
  /** Backend-phase policies of this route alone; they come beside the backend's own. */
  readonly policies: PolicyDocuments;
}

export type PathMatch =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'pathPrefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly value: string };

export interface ValueMatch {
  readonly name: string;
  readonly exact?: string;
  readonly regex?: string;
}

export interface RouteMatch {
  readonly path: PathMatch;
  readonly method: string | undefined;
  readonly headers: readonly ValueMatch[];
  readonly query: readonly ValueMatch[];
}

/** What a route leads to: MCP servers that are offered as one, or plain HTTP. All backends of a route are of one kind. */
export type Backend = McpBackend | HttpBackend;

export interface McpBackend {
  readonly kind: 'mcp';
  readonly key: string;
  /** Key of the backend that this one is, reached in the way of one route; undefined = it is itself. */
  readonly variantOf?: string | undefined;
  readonly targets: readonly McpTarget[];
  readonly statefulMode: 'stateful' | 'stateless';
  readonly prefixMode: 'conditional' | 'always' | 'never';
  readonly failureMode: 'failClosed' | 'failOpen';
  readonly dnsRebindingProtection: boolean;
  /** Backend-phase policies by config key, on every route that leads here. */
  readonly policies: PolicyDocuments;
  /** Targets whose tools may not change unnoticed, by name; absent when there are none. */
  readonly pinning?: Readonly<Record<string, PinnedMode>> | undefined;
}

export type PinnedMode = Exclude<ToolPinning, 'off'>;

export type McpTarget = McpHttpTarget | McpStdioTarget;

/** How a server is connected to. */
export interface ServerConnection {
  /** From `policies.http.requestTimeout`: until it answers; undefined = no limit of its own. */
  readonly timeoutMs: number | undefined;
  /** From `policies.tcp.connectTimeout`; undefined = the connector's default. */
  readonly connectMs?: number | undefined;
  /** Undefined = as the URL says, judged by the authorities the system trusts. */
  readonly tls?: BackendTls | undefined;
  /** As whom we speak to it; undefined = as nobody. */
  readonly auth?: BackendAuth | undefined;
  /** The proxy on the way; undefined = none. */
  readonly tunnel?: Tunnel | undefined;
  /** Of HTTP, the only one that is spoken; undefined = what fits. */
  readonly version?: 1 | 2 | undefined;
  /** TCP keep-alive: how long a connection is idle before it is looked after; 0 = it is not. */
  readonly keepAliveMs?: number | undefined;
}

/** Servers that serve alike: each request goes to one of them, as it is. */
export interface HttpBackend extends ServerConnection {
  readonly kind: 'http';
  readonly key: string;
  /** As of an MCP backend. */
  readonly variantOf?: string | undefined;
  /** What it is called in messages and metrics. */
  readonly name: string;
  readonly endpoints: readonly HostAddress[];
  /** Each request says which server it is for; `endpoints` are none. */
  readonly dynamic?: DynamicTarget | undefined;
  readonly policies: PolicyDocuments;
}

export interface DynamicTarget {
  /** CEL that makes `host:port` of a request; undefined = whom it asks for. */
  readonly target?: string | undefined;
}

/** Where a server is. */
export interface HostAddress {
  /** `http://name:8080`; of a Unix socket, only its scheme counts. */
  readonly origin: string;
  /** Of a Unix socket. */
  readonly socketPath?: string | undefined;
  /** How often it is chosen, against the others; 1 unless given. */
  readonly weight?: number | undefined;
}

export interface McpHttpTarget extends ServerConnection {
  readonly kind: 'mcp';
  readonly name: string;
  /** Absolute http(s) URL with its path (default `/mcp`). */
  readonly url: string;
  /** What each request to it has besides; names in lower case. Absent when there are none. */
  readonly headers?: HeaderTexts | undefined;
}

export interface McpStdioTarget {
  readonly kind: 'stdio';
  readonly name: string;
  readonly cmd: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly clearEnv: boolean;
  readonly timeoutMs: number | undefined;
}

/** The servers behind it that are connected to. */
export const serversOf = (backend: Backend): readonly (McpHttpTarget | HttpBackend)[] => (backend.kind === 'http' ? [backend] : backend.targets.filter((target) => target.kind === 'mcp'));

export const mcpBackends = ({ backends }: Pick<Generation, 'backends'>): ReadonlyMap<string, McpBackend> =>
  new Map([...backends].flatMap(([key, backend]) => (backend.kind === 'mcp' ? [[key, backend] as const] : [])));
