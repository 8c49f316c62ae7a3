/** The body of a request that stayed at ingress, pulled from there as fast as its backend takes it. */
import { Readable } from 'node:stream';
import { httpBody } from '#protocol/subjects/http.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Bus, type Call, NOTHING } from '#host/bus/bus.ts';

/** Bytes that are here and not taken yet. */
const AHEAD_BYTES = 64 * 1024;

export class PulledBody extends Readable {
  readonly #pull: () => Call;
  #call: Call | undefined;
  /** Of all chunks that wait to be taken: a window of them may have come. */
  #taken: PromiseWithResolvers<void> | undefined;

  constructor(bus: Bus, from: string, body: string) {
    super({ highWaterMark: AHEAD_BYTES });
    this.#pull = () =>
      bus.call(httpBody.to({ instance: from }), { payload: NOTHING, meta: { body }, deadline: Number.MAX_SAFE_INTEGER }, {
        data: (chunk) => (this.push(chunk) ? undefined : (this.#taken ??= Promise.withResolvers<void>()).promise),
        end: (chunk) => {
          if (chunk.length > 0) this.push(chunk);
          this.push(null);
        },
        fail: (fault) => this.destroy(fault),
      });
  }

  override _read(): void {
    this.#call ??= this.#pull();
    this.#go();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#call?.cancel();
    this.#go();
    done(error);
  }

  #go(): void {
    this.#taken?.resolve();
    this.#taken = undefined;
  }

  /** @throws Fault `invalid` with fact `status: 413` when it is larger. */
  async whole(max: number, why: string): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > max) throw new Fault('invalid', `the body is larger than ${max} bytes, and ${why}`, { status: '413' });
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }
}
