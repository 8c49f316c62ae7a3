/** Servers that decide about calls, as policies see them. A service provides them (deps). */
import type { Callout } from '#protocol/config/callout.ts';
import type { CheckRequest, CheckResponse } from './check.ts';

export interface AuthorizerTarget {
  readonly callout: Callout;
  /** From the question to the end of the answer. */
  readonly timeoutMs: number;
}

/** What came of a check. A failure is counted for itself, and once more when `failureMode` let the call through. */
export type CheckOutcome = 'allowed' | 'denied' | 'cached' | CheckFailure | 'allowed-failing';

/** timeout: no answer in time. unavailable: none at all. unusable: one that cannot be understood, or asks for what may not be done. */
export type CheckFailure = 'timeout' | 'unavailable' | 'unusable';

/** Both throw Fault: `timeout`, or `upstream` for whatever else kept an answer from us. */
export interface GrpcAuthorizer {
  check(request: CheckRequest): Promise<CheckResponse>;
}

export interface HttpAuthorizer {
  send(question: HttpQuestion): Promise<HttpAnswer>;
}

export interface HttpQuestion {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
}

/** One connection to each, shared by all policies that name it in the same way. */
export interface Authorizers {
  grpc(target: AuthorizerTarget): GrpcAuthorizer;
  http(target: AuthorizerTarget): HttpAuthorizer;
  /** @param authorizer by the name of its callout. */
  counted(authorizer: string, outcome: CheckOutcome): void;
}
