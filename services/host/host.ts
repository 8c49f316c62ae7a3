/** What every service is handed: the parts of the outside world, ready to use. Made once per process by `openHost`. */
import type { KV, KvEntry } from '@nats-io/kv';
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import type * as Effect from 'effect/Effect';
import type * as Scope from 'effect/Scope';
import type { Generation } from '#protocol/config/generation.ts';
import type { Secret } from '#protocol/config/secret.ts';
import type { Audit } from './audit/audit.ts';
import type { Bus } from './bus/bus.ts';
import type { CallerSeal } from './caller-seal.ts';
import type { DocumentSeal } from './document-seal.ts';
import type { Svids } from './spiffe/svids.ts';
import type { Logger } from './telemetry/log.ts';
import type { Learn } from './telemetry/secrets.ts';
import type { Telemetry } from './telemetry/telemetry.ts';

export interface NatsHandle {
  readonly connection: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  /** Reads ask the leader: what was acknowledged before is seen, and while there is no leader they fail. */
  kv(bucket: string): Promise<KV>;
  /**
   * The newest entry any replica has, within a second: answered while there is no leader too, and possibly stale.
   * Undefined = that replica has none. @throws whatever the client throws when none answers.
   */
  directGet(bucket: string, key: string): Promise<KvEntry | undefined>;
}

/** The generation in force, swapped as one pointer. A call holds the one it started with. */
export interface Generations {
  readonly current: Generation | undefined;
  /** Called with each accepted generation, and at once when there is one already. */
  onChange(listen: (generation: Generation) => void): () => void;
}

export interface Host {
  readonly bus: Bus;
  readonly nats: NatsHandle;
  readonly generations: Generations;
  readonly audit: Audit;
  readonly telemetry: Telemetry;
  readonly log: Logger;
  /** For tokens of callers on the bus. */
  readonly seal: CallerSeal;
  /** For secrets that stand in the gateway document. */
  readonly documentSeal: DocumentSeal;
  /** For cookies of browsers that log in, and for what is said of a login on the bus. */
  readonly cookieKey: Secret;
  /** Takes the secrets this process knows out of a text that others will see. */
  readonly mask: (text: string) => string;
  /** Makes a secret known that was read or had while the process runs. */
  readonly learn: Learn;
  /** Our own certificate by SPIFFE, where a configuration asks for it. */
  readonly svids: Svids;
  /** Variables that hold secrets of the gateway itself, such as the keys of callers: for no child process. */
  readonly ownVariables: ReadonlySet<string>;
  /** Address listeners bind when the configuration names only a port. */
  readonly bindAddresses: readonly string[];
  readonly now: () => number;
}

/** A service is a name and a way to start it; what it acquires is released, in reverse, when the scope closes. */
export interface Service {
  readonly name: 'ingress' | 'policy' | 'session' | 'connector';
  start(host: Host): Effect.Effect<void, unknown, Scope.Scope>;
}
