/**
 * What a policy is: a schema for its part of the configuration, and a way to turn that part, once per generation, into a
 * plain function that is called many times.
 *
 * P1 `apply` decides and does nothing else. The call is read, never changed; clock, counters and keys come in as `deps`.
 * P2 A policy's no is a verdict. An exception from `apply`, or a promise of its that fails, is a bug: the call ends with an
 *    error, as nobody said that it may go on.
 * P3 Messages of a schema do not quote the value they complain about: it may have come from the environment.
 */
import type { z } from 'zod';
import type { PathMatch } from '#protocol/config/generation.ts';
import type { Secret } from '#protocol/config/secret.ts';
import type { Request } from '#protocol/mcp/message.ts';
import type { Authorizers } from './authorizer/authorizer.ts';
import type { OidcConfig } from './logins/config.ts';
import type { IdentityProvider } from './logins/provider.ts';
import type { RequestEdit } from './request-edits.ts';
import type { ResponseEdit, ResponseHead } from './response-edits.ts';

export type Phase = 'connection' | 'gateway' | 'route' | 'backend';

/** The request as policies see it. What earlier policies found out about it is in Facts. */
export interface PolicyCall {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Without the question mark. */
  readonly query: string;
  /** The Host header or `:authority` as it came. */
  readonly host: string;
  /** Names in lower case, as node gives them. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The Cookie header as it came, where people log in by browser: `headers` has what is left of it without the cookies of that. */
  readonly loginCookies?: string | undefined;
  readonly scheme: 'http' | 'https';
  /** As in `HTTP/1.1`. */
  readonly version: string;
  readonly source: Source;
  /** Where they connected to. */
  readonly destination?: Pick<Source, 'address' | 'port'>;
  /** Milliseconds since the epoch. */
  readonly startedAtMs?: number;
  /** For a policy that answers the request itself: it can be read once. @throws Fault `invalid` when it is larger than `max` bytes. */
  body?(max: number): Promise<Uint8Array>;
  /** Its first bytes, while all of it stays to be read. @throws Fault `invalid` when the client breaks off. */
  prefix?(max: number): Promise<BodyPrefix>;
  /** Headers whose value a policy wrote, wholly; `:authority` where one wrote the host. */
  readonly written?: ReadonlySet<string>;
  /** What its path was chosen by; undefined before a route was. */
  readonly matched?: PathMatch | undefined;
  /** The same request, changed. */
  with(edits: readonly RequestEdit[]): PolicyCall;
}

export interface BodyPrefix {
  readonly bytes: Uint8Array;
  /** There is no more. */
  readonly complete: boolean;
}

/** Who is connected, under the names that rules know it by. */
export interface Source {
  /** The peer's IP address; '' once the connection is gone. */
  readonly address: string;
  readonly port: number;
  /** The client's certificate, verified; undefined = it was not asked for one. */
  readonly tls: SourceTls | undefined;
  /** Of the CONNECT that opened the tunnel it came by; undefined = it came by none. */
  readonly connectHeaders?: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
}

export interface SourceTls {
  /** `C=US, O=Example, CN=agent`, in the certificate's order. */
  readonly subject: string;
  readonly issuer: string;
  /** The first common name. */
  readonly subjectCn: string | undefined;
  /** The DNS names, addresses and URIs, without their kind. */
  readonly subjectAltNames: readonly string[];
  /** PEM. */
  readonly certificate: string;
  readonly spiffeId: string | undefined;
  /** Of a SPIFFE id in Istio's form. */
  readonly identity: { readonly trustDomain: string; readonly namespace: string; readonly serviceAccount: string } | undefined;
}

/**
 * What policies proved about a call so far, under the names that rules know it by. A policy adds to it with its verdict; later
 * policies read it, those of the route what those of the gateway found out too.
 */
export interface Facts {
  /** Who calls, as the last policy says that proved it. Absent: nobody proved anything. */
  readonly principal?: string;
  /** Claims of a verified token. */
  readonly jwt?: Readonly<Record<string, unknown>>;
  /** The token itself, for servers that are asked with it. Rules do not know of it. */
  readonly verifiedToken?: Secret;
  /** What the operator wrote beside the key that was presented. */
  readonly apiKey?: Readonly<Record<string, unknown>>;
  readonly basicAuth?: { readonly username: string };
  /** What transformations set for those who come later. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** What an external authorizer said beside its yes. */
  readonly extauthz?: Readonly<Record<string, unknown>>;
  /** Tokens that are no good, where the call goes on all the same (`permissive`): no server is shown one. Rules do not know of them. */
  readonly refusedTokens?: readonly Secret[];
}

export const NO_FACTS: Facts = Object.freeze({});

/** Name (lower case) and value. A header is set, replacing what was there; `vary` and `set-cookie` are added to instead. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

export type Verdict = Pass | Deny | Answer | Rewrite;

export interface Pass {
  readonly kind: 'pass';
}

/** A body, whole. */
export interface Content {
  /** The media type. */
  readonly type: string;
  /** Bytes where somebody else wrote them. */
  readonly text: string | Uint8Array;
}

/** What a verdict means to the login of a person, for audit and metrics. */
export type LoginStep = { readonly step: 'begun' | 'refused' } | { readonly step: 'completed' | 'ended'; readonly principal: string };

/** The call ends here with an error. */
export interface Deny {
  readonly kind: 'deny';
  readonly status: number;
  /** For the caller, as plain text, unless there is `content`. */
  readonly message: string;
  readonly content?: Content;
  /** For audit and metrics: low cardinality, `<policy id>/<why>`. */
  readonly reason: string;
  /** Which rule of the policy it was, for audit: `rules[2]`. */
  readonly rule?: string;
  readonly login?: LoginStep;
  readonly responseHeaders: HeaderList;
  /** What was found out all the same, for audit. */
  readonly facts?: Facts;
}

/** The call ends here with an answer that is no denial: a preflight, a document that a policy serves, what the operator wrote. */
export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  /** Sent whatever other policies make of the answer, and those that earlier ones asked for, too. */
  readonly headers: HeaderList;
  /** Of the answer itself: policies that change responses see them. */
  readonly head?: HeaderList;
  readonly content?: Content;
  readonly login?: LoginStep;
  /** What was found out on the way here. */
  readonly facts?: Facts;
}

/**
 * The call goes on; whatever response is sent, errors included, carries these headers, and these facts are known from now on.
 * With edits, it goes on as another request: for later policies, for the route, and for whoever is asked in the end.
 */
export interface Rewrite {
  readonly kind: 'rewrite';
  readonly responseHeaders: HeaderList;
  readonly facts?: Facts;
  readonly requestEdits?: readonly RequestEdit[];
}

export const pass: Pass = Object.freeze({ kind: 'pass' });

export const deny = (status: number, reason: string, message: string): Deny => ({ kind: 'deny', status, reason, message, responseHeaders: [] });

export const learned = (facts: Facts): Rewrite => ({ kind: 'rewrite', responseHeaders: [], facts });

/** At once wherever that is possible: a promise costs a call more than most policies do. */
export type Judging = Verdict | Promise<Verdict>;

export type ApplyResponse = (head: ResponseHead, call: PolicyCall, facts: Facts) => readonly ResponseEdit[];

export interface CompiledPolicy {
  apply(call: PolicyCall, facts: Facts): Judging;
  /** What it says of an MCP request of a call that it let through, once it is read. Absent: the policy looks at no messages. */
  readonly applyRequest?: (request: Request, call: PolicyCall, facts: Facts) => Deny | undefined;
  /**
   * Its changes to the head of whatever response is sent once its phase began, be it an answer, a denial or an error. Of several,
   * those that a request meets last see a response first: backend, route, gateway, and each phase in reverse.
   * @param head as policies before left it, without what they have every response carry. @param call as its policies left it.
   */
  readonly applyResponse?: ApplyResponse;
  /** It asks for the bodies of responses, whole. */
  readonly readsResponse?: true;
  /** Whether the operator named this origin as one that browsers may call from. Absent: the policy has no opinion. */
  readonly trustsOrigin?: (origin: string) => boolean;
  /** It serves OAuth metadata below /.well-known for what it stands before. */
  readonly answersMetadata?: true;
}

/** The key set that is served at a URL (JWKS, RFC 7517), as the policy service fetched it. */
export interface PublishedKeys {
  /** The document, not judged yet; undefined = none is known. */
  current(): string | undefined;
  /** Asks for a newer one, and resolves when that is over, whatever came of it. Undefined = it was asked for just now. */
  refresh(): Promise<void> | undefined;
}

/** A request for a token, as a client made it. */
export interface TokenRequest {
  /** application/x-www-form-urlencoded */
  readonly form: string;
  readonly authorization?: string | undefined;
}

/** The client of an authorization server that an operator made, and every client uses. */
export interface SharedClient {
  readonly id: string;
  /** For requests of this client that have none, and for people's tokens alone. Withheld from those who do not ask for tokens. */
  readonly secret?: Secret;
}

/** What the authorization server of an issuer says and does, by way of the policy service. All throw Fault when it cannot be reached. */
export interface AuthorizationServer {
  /** Its metadata (RFC 8414, or OpenID Connect Discovery), of this issuer. */
  metadata(): Promise<Readonly<Record<string, unknown>>>;
  /** Registers a client (RFC 7591). @returns what the server answered, as it is. */
  register(body: Uint8Array): Promise<{ readonly status: number; readonly text: string }>;
  /** Asks for a token (RFC 6749 §3.2), with the secret of the shared client where it is for that. @returns what the server answered, as it is. */
  token(request: TokenRequest): Promise<{ readonly status: number; readonly text: string }>;
}

/** What compiled policies may use of the outside world. */
export interface PolicyDeps {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The text of a file the configuration names, for `compile` alone. @throws Fault `invalid`, which names the file. */
  readonly file: (path: string) => string;
  /** For `compile` alone: the keys at a URL are asked for from then on. */
  readonly keys: (url: string) => PublishedKeys;
  /** For `compile` alone: only those named then can be asked. */
  readonly authorizationServer: (issuer: string, client?: SharedClient) => AuthorizationServer;
  /** For `compile` alone: only those named then can be asked. @throws Fault `invalid` for a file of it that is no good. */
  readonly identityProvider: (config: OidcConfig) => IdentityProvider;
  /** What cookies of browsers are sealed with, in 64 hex digits: the same wherever those browsers may come by. */
  readonly cookieKey: Secret;
  /** For `compile` alone: those named then are connected to, and can be asked. */
  readonly authorizers: Authorizers;
  /** What rules know besides the call. */
  readonly surroundings?: Surroundings;
}

/** Where a process runs, and where in the configuration its policies stand, under the names rules know them by. */
export interface Surroundings {
  readonly env?: { readonly podName?: string | undefined; readonly namespace?: string | undefined; readonly gateway?: string | undefined };
  readonly proxy?: object;
}

export interface Policy<S extends z.ZodType = z.ZodType> {
  /** Folder, configuration key and metric label at once. */
  readonly id: string;
  readonly schema: S;
  compile(config: z.output<S>, deps: PolicyDeps): CompiledPolicy;
}

/**
 * A policy that is a set of expressions for somebody who is in no chain: the connector, which alone knows what is called
 * (decision 15), who takes connections, before there is anything to read, or the log, when a request is over.
 */
export interface RulePolicy<S extends z.ZodType = z.ZodType> {
  readonly id: string;
  readonly schema: S;
  readonly judgedBy: 'connector' | 'listener' | 'log';
}

/** Keeps a policy's own types inside it: the chain knows only that what the schema let through may be compiled. */
export const definePolicy = <S extends z.ZodType>(policy: Policy<S>): Policy => policy as unknown as Policy;

export const defineRulePolicy = <S extends z.ZodType>(policy: RulePolicy<S>): RulePolicy => policy;
