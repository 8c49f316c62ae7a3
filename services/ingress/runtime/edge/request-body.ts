/** The body of a request: read whole, looked into first and read whole later, or taken as it comes. */
import { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { BodyPrefix } from '#policies/policy.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { SlowBodies } from './slow-bodies.ts';

/** Until all of it is there. */
const WHOLE_MS = 60_000;
/** Until there is more of it. */
const MORE_MS = 15 * 60_000;

/** @throws Fault `invalid` with fact `status: 413` when it is larger, 408 when it is not there in time. */
export function readBody(request: IncomingMessage, max: number, slow: SlowBodies): Promise<Uint8Array> {
  if (saidLength(request) > max) return Promise.reject(tooLarge(max));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const over = slow.wait(WHOLE_MS, () => {
      request.pause();
      reject(tooSlow());
    });
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= max) chunks.push(chunk);
      else {
        over();
        request.pause();
        reject(tooLarge(max));
      }
    });
    request.once('end', () => {
      over();
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
    request.once('error', (cause) => {
      over();
      reject(brokenOff(cause));
    });
  });
}

/** Keeps what it has read: one reader at a time. */
export class HeldBody {
  readonly #request: Readable;
  readonly #slow: SlowBodies | undefined;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #ended = false;
  #broken: Fault | undefined;
  /** Ends a wait when there are more bytes than this. */
  #wanted = 0;
  #wake: (() => void) | undefined;

  /** @param slow undefined = it is waited for as long as its connection lives. */
  constructor(request: Readable, slow: SlowBodies | undefined) {
    this.#request = request;
    this.#slow = slow;
    request.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#size += chunk.length;
      if (this.#size > this.#wanted) this.#awake();
    });
    request.once('end', () => {
      this.#ended = true;
      this.#awake();
    });
    request.once('error', (cause) => {
      this.#broken = brokenOff(cause);
      this.#awake();
    });
    request.pause();
  }

  async prefix(max: number): Promise<BodyPrefix> {
    await this.#until(max, WHOLE_MS);
    return { bytes: this.#all().subarray(0, max), complete: this.#ended && this.#size <= max };
  }

  async whole(max: number): Promise<Uint8Array> {
    if (this.#request instanceof IncomingMessage && saidLength(this.#request) > max) throw tooLarge(max);
    await this.#until(max, WHOLE_MS);
    if (this.#size > max) throw tooLarge(max);
    return this.#all();
  }

  /** All of it, and nothing is kept. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    while (this.#chunks.length > 0 || !this.#ended) {
      const chunks = this.#chunks.splice(0);
      this.#size = 0;
      yield* chunks;
      await this.#until(0, MORE_MS);
    }
  }

  /** Until there are more bytes than `max`, or no more are to come. */
  async #until(max: number, ms: number): Promise<void> {
    if (this.#size <= max && !this.#ended && this.#broken === undefined) {
      const over = this.#slow?.wait(ms, () => {
        this.#broken = tooSlow();
        this.#awake();
      });
      await new Promise<void>((resolve) => {
        this.#wanted = max;
        this.#wake = resolve;
        this.#request.resume();
      });
      over?.();
    }
    if (this.#broken !== undefined) throw this.#broken;
  }

  #awake(): void {
    this.#request.pause();
    this.#wake?.();
    this.#wake = undefined;
  }

  #all(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks));
    return this.#chunks[0] as Buffer;
  }
}

/** Undefined = it does not say, and there is one. */
export function bodyBytes({ headers }: IncomingMessage): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return undefined;
  return Number(headers['content-length'] ?? 0);
}

const saidLength = ({ headers }: IncomingMessage): number => Number(headers['content-length'] ?? 0);

export const tooLarge = (max: number): Fault => new Fault('invalid', `the body is larger than ${max} bytes`, { status: '413' });

const tooSlow = (): Fault => new Fault('invalid', 'the body did not come in time', { status: '408' });

const brokenOff = (cause: Error): Fault => new Fault('invalid', 'the body broke off', { status: '400' }, { cause });
