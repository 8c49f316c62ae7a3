/** Remembers what a response was, for whoever writes it down. */
import type { Answered } from '../core/access-line.ts';
import type { EdgeResponse, EdgeStream } from './edge.ts';

export class RecordedResponse implements EdgeResponse {
  readonly #response: EdgeResponse;
  readonly #carried: (readonly [name: string, value: string])[] = [];
  #sent: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body?: Uint8Array | string | undefined } | undefined;

  constructor(response: EdgeResponse) {
    this.#response = response;
  }

  /** The first is the one that is sent. */
  send(status: number, headers: Readonly<Record<string, string>>, body?: Uint8Array | string): void {
    this.#sent ??= { status, headers, body };
    this.#response.send(status, headers, body);
  }

  open(status: number, headers: Readonly<Record<string, string>>): EdgeStream {
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
    const headers: Record<string, string | readonly string[]> = {};
    for (const [name, value] of this.#carried) headers[name] = name === 'vary' || name === 'set-cookie' ? [...(headers[name] ?? []), value] : value;
    return { status: this.#sent?.status, headers: { ...headers, ...this.#sent?.headers }, body: this.#sent?.body };
  }
}
