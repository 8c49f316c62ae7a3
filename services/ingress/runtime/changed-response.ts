/**
 * A response whose head policies change. There is none where no policy does.
 *
 * H1 Policies of the backend first, then those of the route, then those of the gateway: each sees what the ones before made of it.
 * H2 What an answer of MCP says of itself, its status and the headers that it has, is the protocol's: edits of that are passed
 *    over, and nobody gives it the id of a session. What it does not say, a policy may.
 * H3 A response that cannot be judged is not sent: a bare 500 is.
 */
import type { Chain } from '#policies/chain.ts';
import type { ApplyResponse, Facts } from '#policies/policy.ts';
import { type ResponseEdit, type ResponseHead, type ResponseHeaders, editResponse } from '#policies/response-edits.ts';
import { SESSION_HEADER } from '#protocol/mcp/versions.ts';
import type { EdgeRequest, EdgeResponse, EdgeStream } from './edge.ts';

/** What is known of a call, for those who answer it. */
export interface Known {
  readonly request: EdgeRequest;
  readonly facts: Facts;
}

type Failed = (error: unknown) => void;

class ChangedResponse implements EdgeResponse {
  readonly #response: EdgeResponse;
  readonly #failed: Failed;
  #known: Known;
  /** As they are called. */
  #changes: readonly ApplyResponse[] = [];
  #ofMcp = false;

  constructor(response: EdgeResponse, known: Known, failed: Failed) {
    this.#response = response;
    this.#known = known;
    this.#failed = failed;
  }

  /** Those of a later phase come first. */
  changedBy(changes: readonly ApplyResponse[]): void {
    this.#changes = [...changes, ...this.#changes];
  }

  learns(request: EdgeRequest, facts: Facts): void {
    this.#known = { request, facts };
  }

  speaksMcp(): void {
    this.#ofMcp = true;
  }

  send(status: number, headers: ResponseHeaders, body?: Uint8Array | string): void {
    const head = this.#changed({ status, headers });
    if (head === undefined) this.#response.send(500, {});
    else this.#response.send(head.status, head.headers, body);
  }

  open(status: number, headers: ResponseHeaders): EdgeStream {
    const head = this.#changed({ status, headers });
    if (head !== undefined) return this.#response.open(head.status, head.headers);
    this.#response.send(500, {});
    return NO_STREAM;
  }

  carry(headers: readonly (readonly [name: string, value: string])[]): void {
    this.#response.carry(headers);
  }

  onClose(gone: () => void): void {
    this.#response.onClose(gone);
  }

  onEnd(over: () => void): void {
    this.#response.onEnd(over);
  }

  #changed(made: ResponseHead): ResponseHead | undefined {
    const { request, facts } = this.#known;
    let head = made;
    try {
      for (const change of this.#changes) {
        const edits = change(head, request, facts);
        head = editResponse(head, this.#ofMcp ? edits.filter((edit) => isFree(edit, made)) : edits);
      }
      return head;
    } catch (error) {
      return void this.#failed(error);
    }
  }
}

/** H2 */
const isFree = (edit: ResponseEdit, { headers }: ResponseHead): boolean => edit.kind !== 'setStatus' && edit.header !== SESSION_HEADER && headers[edit.header] === undefined;

const NO_STREAM: EdgeStream = { open: false, pendingBytes: 0, write: () => true, drained: () => Promise.resolve(), end: () => undefined, cut: () => undefined };

/** The response to a request that comes to these policies now. */
export function changedBy({ responding }: Chain, response: EdgeResponse, known: Known, failed: Failed): EdgeResponse {
  if (responding === undefined) return response;
  const changed = response instanceof ChangedResponse ? response : new ChangedResponse(response, known, failed);
  changed.changedBy(responding);
  return changed;
}

/** Policies changed the request, or found out more. */
export function learn(response: EdgeResponse, request: EdgeRequest, facts: Facts): void {
  if (response instanceof ChangedResponse) response.learns(request, facts);
}

/** H2, from now on. */
export function speakMcp(response: EdgeResponse): void {
  if (response instanceof ChangedResponse) response.speaksMcp();
}
