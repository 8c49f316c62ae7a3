/**
 * Our own certificate and the authorities of our trust domain, as the SPIFFE Workload API streams them: one stream a process,
 * opened by the first who needs it.
 *
 * S1 An answer is taken whole, or not at all: what cannot be used leaves the last good one in place.
 * S2 While the agent is away the last good one counts, until it ends. After that nothing is served and nobody is connected to.
 * S3 Another endpoint is another identity: nothing of the one before counts any more.
 */
import { Fault } from '#protocol/faults/fault.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Counter } from '../telemetry/metrics.ts';
import type { Learn } from '../telemetry/secrets.ts';
import { secretsIn } from '../telemetry/secrets-in-files.ts';
import { type Svid, type X509SvidResponse, readSvid } from './svid.ts';

const RETRY_MS = 500;
const RETRY_MS_MAX = 30_000;

/** taken: in use from now on. unusable: it answered, with something else. unavailable: it cannot be reached, or refused to answer. */
type SvidUpdate = 'taken' | 'unusable' | 'unavailable';

export interface SvidsOptions {
  readonly log: Logger;
  readonly updates: Counter;
  /** Told of our private key. */
  readonly learn?: Learn;
  readonly now: () => number;
}

interface Following {
  readonly endpoint: string;
  stop: () => void;
  retry: NodeJS.Timeout | undefined;
  waitMs: number;
}

export class Svids {
  readonly #options: SvidsOptions;
  readonly #listeners = new Set<() => void>();
  #endpoint: string | undefined;
  #wanted = false;
  #following: Following | undefined;
  #svid: Svid | undefined;
  #problem: string | undefined;

  constructor(options: SvidsOptions) {
    this.#options = options;
  }

  /** Where the agent is, from now on; undefined = nobody has said. */
  follow(endpoint: string | undefined): void {
    if (endpoint === this.#endpoint) return;
    this.#endpoint = endpoint;
    this.#svid = undefined;
    this.#problem = undefined;
    this.#stop();
    if (this.#wanted) this.#start();
    this.#tell();
  }

  /** Somebody needs it. */
  open(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#start();
  }

  close(): void {
    this.#listeners.clear();
    this.#wanted = false;
    this.#stop();
  }

  get usable(): boolean {
    return this.#svid !== undefined && this.#svid.validTo > this.#options.now();
  }

  /** @throws Fault `upstream` that says what is missing. */
  get current(): Svid {
    if (this.#endpoint === undefined) throw this.#fault('nobody has said where the SPIFFE Workload API is: set config.spiffe.endpoint or SPIFFE_ENDPOINT_SOCKET');
    if (this.#svid === undefined) throw this.#fault(this.#problem ?? 'the SPIFFE Workload API has not answered yet');
    if (!this.usable) throw this.#fault(`the SVID has ended, and there is no new one: ${this.#problem ?? 'the agent gave none'}`);
    return this.#svid;
  }

  /** The same, once the first answer is there. It waits for nothing that is known to be wrong. */
  ready(withinMs: number): Promise<Svid> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(late);
        stop();
        try {
          resolve(this.current);
        } catch (error) {
          reject(error as Error);
        }
      };
      const late = setTimeout(settle, withinMs);
      const stop = this.onChange(settle);
      this.open();
      if (this.#endpoint === undefined || this.#svid !== undefined || this.#problem !== undefined) settle();
    });
  }

  /** Called when there is another SVID, or a reason why there is none. */
  onChange(listen: () => void): () => void {
    this.#listeners.add(listen);
    return () => void this.#listeners.delete(listen);
  }

  #start(): void {
    if (this.#endpoint === undefined) return;
    this.#following = { endpoint: this.#endpoint, stop: () => undefined, retry: undefined, waitMs: RETRY_MS };
    void this.#connect(this.#following);
  }

  #stop(): void {
    clearTimeout(this.#following?.retry);
    this.#following?.stop();
    this.#following = undefined;
  }

  async #connect(following: Following): Promise<void> {
    const { endpoint } = following;
    const ended = (why: string): void => {
      if (this.#following !== following) return;
      this.#failed('unavailable', `the SPIFFE Workload API at ${endpoint} gives nothing: ${why}`);
      following.retry = setTimeout(() => void this.#connect(following), following.waitMs);
      following.waitMs = Math.min(following.waitMs * 2, RETRY_MS_MAX);
    };
    try {
      const { followWorkloadApi } = await import('./workload-api.ts');
      if (this.#following !== following) return;
      const stop = await followWorkloadApi(endpoint, { answered: (response) => this.#take(following, response), ended });
      if (this.#following === following) following.stop = stop;
      else stop();
    } catch (error) {
      ended((error as Error).message);
    }
  }

  #take(following: Following, response: X509SvidResponse): void {
    if (this.#following !== following) return;
    const { log, updates, now, learn } = this.#options;
    following.waitMs = RETRY_MS;
    try {
      const svid = readSvid(response, now());
      for (const secret of secretsIn(svid.key)) learn?.(secret, 'passing');
      this.#svid = svid;
      this.#problem = undefined;
      updates.add(1, { outcome: 'taken' satisfies SvidUpdate });
      log.info({ spiffeId: svid.id, until: new Date(svid.validTo).toISOString() }, 'SVID in use');
      this.#tell();
    } catch (error) {
      this.#failed('unusable', `what the SPIFFE Workload API at ${following.endpoint} gave cannot be used: ${(error as Error).message}`);
    }
  }

  #failed(outcome: SvidUpdate, problem: string): void {
    const { log, updates } = this.#options;
    updates.add(1, { outcome });
    if (problem === this.#problem) return;
    this.#problem = problem;
    log.warn({ until: this.#svid && new Date(this.#svid.validTo).toISOString() }, `${problem}; ${this.usable ? 'the last SVID is used until it ends' : 'there is no SVID to use'}`);
    this.#tell();
  }

  #tell(): void {
    for (const listen of this.#listeners) listen();
  }

  #fault(message: string): Fault {
    return new Fault('upstream', message, { reason: 'spiffe' });
  }
}
