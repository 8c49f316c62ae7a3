/** What is stored of a live session, and the writes that replace it: one at a time, each names the revision of the one before. */
import { asFault } from '#protocol/faults/fault.ts';
import type { CloseReason, OpenRecord } from '#protocol/records/session.ts';
import type { Held, SessionStore } from './store.ts';

export class StoredRecord {
  readonly #store: SessionStore;
  readonly #session: string;
  #record: OpenRecord;
  #revision: number;
  #writing: Promise<void> | undefined;
  #lacking = false;
  #doubt: 'fresh' | 'unanswered' | undefined;

  constructor(store: SessionStore, session: string, { record, revision }: Held) {
    this.#store = store;
    this.#session = session;
    this.#record = record;
    this.#revision = revision;
  }

  get record(): OpenRecord {
    return this.#record;
  }

  get writing(): boolean {
    return this.#writing !== undefined;
  }

  /** The store did not take something: it should be written again. */
  get lacking(): boolean {
    return this.#lacking;
  }

  /**
   * @param make the record when its turn comes.
   * @throws Fault as the store says.
   */
  async save(make: () => OpenRecord, impatient = false): Promise<void> {
    while (this.#writing !== undefined) await this.#writing.catch(() => undefined);
    this.#writing = this.#write(make(), impatient).finally(() => (this.#writing = undefined));
    await this.#writing;
  }

  /** As `save`, for what holds nobody up: a store that takes nothing now is given it again later. @throws Fault conflict */
  async note(make: () => OpenRecord): Promise<void> {
    try {
      await this.save(make, true);
    } catch (error) {
      if (asFault(error).code !== 'overloaded') throw error;
      this.#lacking = true;
    }
  }

  async bury(reason: CloseReason): Promise<void> {
    while (this.#writing !== undefined) await this.#writing.catch(() => undefined);
    await this.#store.bury(this.#session, this.#record, reason, this.#revision);
  }

  /** From now on nobody here knows whether it still is ours. */
  doubt(): void {
    this.#doubt = 'fresh';
  }

  /** It is to be looked at before anything is done for the session. */
  get inDoubt(): boolean {
    return this.#doubt === 'fresh';
  }

  /** Nobody could say when it was last looked at: it is taken for ours, and should be looked at again. */
  get unsure(): boolean {
    return this.#doubt === 'unanswered';
  }

  async isMoved(): Promise<boolean> {
    this.#doubt = undefined;
    const found = await this.#store.verify(this.#session, this.#record);
    if (found === 'unknown') this.#doubt ??= 'unanswered';
    return found === 'moved';
  }

  async #write(record: OpenRecord, impatient: boolean): Promise<void> {
    this.#revision = await this.#store.save(this.#session, record, this.#revision, impatient);
    this.#record = record;
    this.#lacking = false;
  }
}
