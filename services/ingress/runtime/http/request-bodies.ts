/**
 * Bodies of requests that stay here until a connector pulls them (protocol/subjects/http.ts H1). One is pulled once, by whoever
 * was told its name.
 */
import { httpBody } from '#protocol/subjects/http.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { type Answer, type Bus, NOTHING, type Serving } from '#host/bus/bus.ts';
import { sendChunks } from '#host/bus/chunks.ts';
import type { EdgeRequest } from '../edge/edge.ts';

export interface Offer {
  /** What it is called on the bus. */
  readonly name: string;
  /** Nobody is to pull it any more. */
  withdraw(): void;
}

export class RequestBodies {
  readonly #offered = new Map<string, EdgeRequest>();
  readonly #serving: Serving;

  constructor(bus: Bus) {
    this.#serving = bus.serve(httpBody.to({ instance: bus.instance }), ({ meta, answer }) => void this.#give(meta.body, answer));
  }

  offer(request: EdgeRequest): Offer {
    const name = crypto.randomUUID();
    this.#offered.set(name, request);
    return { name, withdraw: () => this.#offered.delete(name) };
  }

  close(): void {
    this.#serving.stop();
  }

  async #give(name: string, answer: Answer): Promise<void> {
    const request = this.#offered.get(name);
    this.#offered.delete(name);
    if (request === undefined) return answer.fail(new Fault('gone', 'there is no such body', { reason: 'no-body' }));
    try {
      for await (const chunk of request.chunks()) {
        if (!answer.open) return;
        if (!sendChunks(answer, chunk)) await answer.drained();
      }
      answer.end(NOTHING);
    } catch (error) {
      answer.fail(asFault(error));
    }
  }
}
