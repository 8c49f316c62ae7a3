/** Remembers what a response was, for whoever writes it down. */
import { type ResponseHeaders, headersOf } from '#policies/response-edits.ts';
import type { Answered } from '../../core/access-line.ts';
import type { EdgeResponse, EdgeStream } from './edge.ts';

export class RecordedResponse implements EdgeResponse {
  readonly #response: EdgeResponse;
  readonly #carried: (readonly [name: string, value: string])[] = [];
  #sent: { readonly status: number; readonly headers: ResponseHeaders; readonly body?: Uint8Array | string | undefined } | undefined;

  constructor(response: EdgeResponse) {
    this.#response = response;
  }

  /** The first is the one that is sent. */
  send(status: number, headers: ResponseHeaders, body?: Uint8Array | string): void {
    this.#sent ??= { status, headers, body };
    this.#response.send(status, headers, body);
  }

  open(status: number, headers: ResponseHeaders): EdgeStream {
    this.#sent ??= { status, headers };
    return this.#response.open(status, headers);
  }

  carry(headers: readonly (readonly [name: string, value: string])[]): void {
    this.#carried.push(...headers);
    this.#response.carry(headers);
  }

  onClose(gone: () => void): void {
    this.#response.onClose(gone);
  }

  onEnd(over: () => void): void {
    this.#response.onEnd(over);
  }

  get answer(): Answered {
    return { status: this.#sent?.status, headers: { ...headersOf(this.#carried), ...this.#sent?.headers }, body: this.#sent?.body };
  }
}
