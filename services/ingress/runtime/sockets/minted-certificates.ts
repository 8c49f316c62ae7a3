/**
 * The certificates of a listener with `mode: dynamicCa`, made when a server name is asked for.
 *
 * D1 Only for a name that is a host name, and that the hostname of the listener covers.
 * D2 Who asks for a name that is being made waits for that one. They are made one after another, and of MINTING_MAX one is
 *    being made and the others wait: one takes as much of the event loop as a handshake does, so a crowd of names is like
 *    a crowd of clients.
 * D3 The last used `capacity` are kept, each for `ttlMs`. Another authority has another of these, and begins with none.
 * D4 None begins before its authority or ends after it.
 */
import { X509Certificate } from 'node:crypto';
import { type SecureContext, type SecureContextOptions, createSecureContext } from 'node:tls';
import { Fault } from '#protocol/faults/fault.ts';
import { isHostName } from '../../core/server-name.ts';
import type { Minted } from '../../events.ts';
import { Authority } from './authority.ts';
import type { Issued } from './credentials.ts';

export const MINTING_MAX = 64;
/** As the reference system's. */
const TTL_MS = 5 * 60_000;
const CAPACITY = 256;
/** A clock of a client that is behind must not refuse what was made just now. */
const EARLIER_MS = 3600_000;
/** It is shown as long as it is kept, and to clients whose clock is ahead. */
const LONGER_MS = 24 * 3600_000;

export interface MintingSettings {
  /** How long a certificate is shown before another is made. */
  readonly ttlMs?: number | undefined;
  /** How many are kept, for each listener. */
  readonly capacity?: number | undefined;
}

export interface MintedCertificatesOptions extends MintingSettings {
  readonly authority: Issued;
  /** Whether the hostname of the listener covers a name. */
  readonly covers: (name: string) => boolean;
  /** What else its handshakes are settled by. */
  readonly options: SecureContextOptions;
  readonly minted: (outcome: Minted) => void;
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined;
}

interface Kept {
  readonly context: SecureContext;
  readonly until: number;
}

export class MintedCertificates {
  readonly #options: MintedCertificatesOptions;
  readonly #now: () => number;
  readonly #ends: { readonly from: number; readonly until: number };
  readonly #kept = new Map<string, Kept>();
  readonly #minting = new Map<string, Promise<SecureContext>>();
  #authority: Promise<Authority> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: MintedCertificatesOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    const { validFromDate, validToDate } = new X509Certificate(options.authority.cert);
    this.#ends = { from: validFromDate.getTime(), until: validToDate.getTime() };
  }

  /** Rejects when there is none for this name, or not now. */
  async of(serverName: string): Promise<SecureContext> {
    const name = serverName.toLowerCase();
    const kept = this.#kept.get(name);
    if (kept !== undefined) {
      this.#kept.delete(name);
      if (kept.until > this.#now()) {
        this.#kept.set(name, kept);
        return kept.context;
      }
    }
    return this.#minting.get(name) ?? this.#begin(name);
  }

  #begin(name: string): Promise<SecureContext> {
    if (!isHostName(name) || !this.#options.covers(name)) throw this.#refused('refused', new Fault('denied', 'no certificate is made for this server name'));
    if (this.#minting.size >= MINTING_MAX) throw this.#refused('limit', new Fault('overloaded', 'too many certificates are being made'));
    const minting = this.#last.then(() => this.#mint(name)).finally(() => this.#minting.delete(name));
    this.#minting.set(name, minting);
    this.#last = minting.catch(() => undefined);
    return minting;
  }

  async #mint(name: string): Promise<SecureContext> {
    const { authority, options, ttlMs = TTL_MS, capacity = CAPACITY, minted } = this.#options;
    try {
      const now = this.#now();
      const until = Math.min(now + ttlMs + LONGER_MS, this.#ends.until);
      if (until <= now) throw new Fault('upstream', 'the certificate of the authority has ended');
      this.#authority ??= Authority.open(authority);
      const issued = await (await this.#authority).issue(name, { from: new Date(Math.max(now - EARLIER_MS, this.#ends.from)), until: new Date(until) });
      const context = createSecureContext({ ...options, ...issued });
      this.#kept.set(name, { context, until: Math.min(now + ttlMs, until) });
      const [oldest] = this.#kept.keys();
      if (this.#kept.size > capacity && oldest !== undefined) this.#kept.delete(oldest);
      minted('made');
      return context;
    } catch (error) {
      throw this.#refused('failed', error);
    }
  }

  #refused(outcome: Minted, error: unknown): unknown {
    this.#options.minted(outcome);
    return error;
  }
}
