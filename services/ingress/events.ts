/** What ingress tells the world: one function per fact, feeding counter, audit and log. */
import type { LoginStep } from '#policies/policy.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { ANONYMOUS } from '#protocol/records/principal.ts';
import type { Host } from '#host/host.ts';
import type { CheckOutcome } from '#policies/authorizer/authorizer.ts';
import { SECONDS_BUCKETS } from '#host/telemetry/metrics.ts';

/** The methods that run something on behalf of a caller; decisions about these are audited one by one. */
const CALLS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read', 'completion/complete']);

export interface RequestFacts {
  readonly route: string;
  readonly principal: string;
  readonly session?: string | undefined;
  readonly method?: string | undefined;
  readonly name?: string | undefined;
  readonly traceparent?: string | undefined;
  /** The method is one of HTTP: the request goes on to a plain HTTP backend. */
  readonly http?: true;
  /** What an external authorizer said of it. */
  readonly extauthz?: Readonly<Record<string, unknown>> | undefined;
}

export type SessionFacts = Required<Pick<RequestFacts, 'route' | 'principal' | 'session' | 'traceparent'>>;

/** unknown: an event id that is none of the session's. expired: nothing of its stream is kept. limit: too many are open. */
export type StreamRefusal = 'unknown' | 'expired' | 'limit';

/** Why no request could be made of what came. */
export type Unreadable = 'headers-too-long' | 'timeout' | 'malformed';

/** limit: too many at once. timeout: it took too long. refused: client and listener did not agree. unready: the listener has no usable certificate. */
export type HandshakeFailure = 'limit' | 'timeout' | 'refused' | 'unready';

/** made: a key and a certificate. refused: for no host name, or for one that is not the listener's. limit: too many were asked for at once. failed: the authority has ended, or could not sign. */
export type Minted = 'made' | 'refused' | 'limit' | 'failed';

/** What came of a CONNECT. denied: by rules for connections. nobody: no bind serves that port. unready: one does, and has no usable certificate. */
export type TunnelOutcome = 'opened' | 'malformed' | 'denied' | 'nobody' | 'limit' | 'unready';

export interface IngressEvents {
  allowed(facts: RequestFacts): void;
  denied(facts: RequestFacts, why: { readonly reason: string; readonly rule?: string }): void;
  /** A person's login by browser. */
  login(route: string, step: LoginStep, reason?: string): void;
  /** A connection that was closed by rules before anything was read of it. */
  connectionDenied(reason: string): void;
  /** What came and was no HTTP request, or had headers that were too long or too late. */
  unreadable(why: Unreadable): void;
  /** A request that broke a rule of the protocol, by what it was. */
  refused(route: string, why: string): void;
  /** A session id that is unknown, closed, or somebody else's: which of them is nobody's business. */
  sessionRefused(facts: SessionFacts): void;
  streamRefused(facts: SessionFacts, why: StreamRefusal): void;
  handshakeFailed(why: HandshakeFailure): void;
  /** A certificate that a client's server name asked for, by what came of it. */
  minted(outcome: Minted): void;
  tunnelled(outcome: TunnelOutcome): void;
  checked(authorizer: string, outcome: CheckOutcome): void;
  /** @param startedAt by performance.now(). */
  authorizerAnswered(authorizer: string, startedAt: number): void;
  answered(route: string, outcome: number | Fault, startedAt: number): void;
  failed(what: string, error: unknown): void;
}

export function ingressEvents({ telemetry, audit, log }: Host): IngressEvents {
  const requests = telemetry.counter('parley_requests', 'requests answered, by route and status');
  const seconds = telemetry.histogram('parley_request_seconds', 'time from request to the end of its answer, in seconds', SECONDS_BUCKETS);
  const refusals = telemetry.counter('parley_requests_refused', 'requests that broke a rule of the protocol, by route and reason');
  const sessions = telemetry.counter('parley_session_refusals', 'requests that named a session there is not, by route');
  const streams = telemetry.counter('parley_stream_refusals', 'event streams that were not opened, by route and reason');
  const handshakes = telemetry.counter('parley_tls_handshakes_failed', 'TLS connections that came to nothing before a request, by reason');
  const certificates = telemetry.counter('parley_certificates_minted', 'certificates made for server names (mode: dynamicCa), by what came of it');
  const tunnels = telemetry.counter('parley_tunnels', 'tunnels that clients asked for by CONNECT, by what came of it');
  const closed = telemetry.counter('parley_connections_denied', 'connections that rules closed before anything was read, by reason');
  const logins = telemetry.counter('parley_logins', 'logins by browser, by route and step: begun, completed, refused, ended');
  const garbage = telemetry.counter('parley_requests_unreadable', 'what came and was no HTTP request, or had headers that were too long or too late, by reason');
  const denials = telemetry.counter('parley_requests_denied', 'requests a policy denied, by route and reason');
  const checks = telemetry.counter('parley_authorizer_checks', 'calls an external authorizer was to decide, by what came of it');
  const waits = telemetry.histogram('parley_authorizer_seconds', 'time until an external authorizer answered, in seconds', SECONDS_BUCKETS);
  return {
    allowed(facts) {
      if (facts.method === undefined || !(CALLS.has(facts.method) || facts.http === true)) return;
      const { route, principal, session, method, name, traceparent, extauthz } = facts;
      audit.record({ kind: 'call_allowed', route, principal, session, method, tool: name, traceparent, extauthz });
    },
    denied({ route, principal, session, method, name, traceparent, extauthz }, { reason, rule }) {
      denials.add(1, { route, reason });
      audit.record({ kind: 'call_denied', route, principal, session, method, tool: name, traceparent, reason, rule, extauthz });
    },
    login(route, login, reason) {
      const { step } = login;
      logins.add(1, { route, step });
      if (reason !== undefined) denials.add(1, { route, reason });
      if (step !== 'begun') audit.record({ kind: `login_${step}`, route, principal: 'principal' in login ? login.principal : ANONYMOUS, reason });
    },
    unreadable: (why) => garbage.add(1, { why }),
    connectionDenied: (reason) => closed.add(1, { reason }),
    refused: (route, why) => refusals.add(1, { route, why }),
    sessionRefused(facts) {
      sessions.add(1, { route: facts.route });
      audit.record({ kind: 'session_refused', ...facts });
    },
    streamRefused(facts, reason) {
      streams.add(1, { route: facts.route, reason });
      audit.record({ kind: 'stream_refused', ...facts, reason });
    },
    handshakeFailed: (why) => handshakes.add(1, { why }),
    minted: (outcome) => certificates.add(1, { outcome }),
    tunnelled: (outcome) => tunnels.add(1, { outcome }),
    checked: (authorizer, outcome) => checks.add(1, { authorizer, outcome }),
    authorizerAnswered: (authorizer, startedAt) => waits.record((performance.now() - startedAt) / 1000, { authorizer }),
    answered(route, outcome, startedAt) {
      requests.add(1, { route, status: outcome instanceof Fault ? outcome.code : outcome });
      seconds.record((performance.now() - startedAt) / 1000, { route });
    },
    failed: (what, error) => log.error({ err: error }, what),
  };
}
