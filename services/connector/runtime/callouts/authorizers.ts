/**
 * Authorizers that want to know who asks, asked for ingress, which has no credentials (decision 30).
 *
 * U1 What the generation in force names can be asked, and what the one before named: an ingress may be a moment behind.
 * U2 Each is connected to when it is asked for the first time, and let go of when it is named no more.
 * U3 Questions and answers are sealed: they hold tokens of callers.
 */
import type { Callout } from '#protocol/config/callout.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { marked } from '#protocol/config/secret.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { authorizerPurpose } from '#protocol/subjects/connector.ts';
import type { Asked } from '#host/bus/bus.ts';
import { answerBytes, questionOf } from '#host/callouts/http-text.ts';
import type { Wire } from '#host/callouts/wire.ts';
import type { CallerSeal } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import { type CalloutCredentials, calloutCredentials } from './callout-credentials.ts';
import type { CredentialSurroundings } from '../credentials/credentials.ts';

/** As of policies/extAuthz, which waits no longer. */
const TIMEOUT_MS = 2_000;

type Bytes = Wire<Uint8Array, Uint8Array>;
type WireKind = 'grpc' | 'http';

interface Named {
  readonly callout: Callout;
  readonly credentials: CalloutCredentials;
  readonly wires: Map<WireKind, Promise<Bytes>>;
}

interface Options extends Omit<CredentialSurroundings, 'url' | 'target'> {
  readonly seal: Pick<CallerSeal, 'sealText' | 'openText'>;
}

type AuthorizerAsked = Asked<{ readonly wire: WireKind; readonly authorizer: string }>;

export class ConnectorAuthorizers {
  readonly #options: Options;
  #named: ReadonlyMap<string, Named> = new Map();
  #before: ReadonlyMap<string, Named> = new Map();

  constructor(options: Options) {
    this.#options = options;
  }

  /** U1 */
  follow({ authorizers = new Map() }: Pick<Generation, 'authorizers'>): void {
    const known = new Map([...this.#before, ...this.#named]);
    const next = new Map<string, Named>();
    for (const [key, callout] of authorizers) {
      const had = known.get(key);
      next.set(key, had !== undefined && marked(had.callout) === marked(callout) ? had : this.#name(callout));
    }
    const kept = new Set([...next.values(), ...this.#named.values()]);
    for (const one of this.#before.values()) if (!kept.has(one)) void letGo(one);
    this.#before = this.#named;
    this.#named = next;
  }

  async answer({ meta: { wire, authorizer }, payload, deadline, answer }: AuthorizerAsked): Promise<void> {
    try {
      const { seal } = this.#options;
      const named = this.#named.get(authorizer) ?? this.#before.get(authorizer);
      if (named === undefined) throw new Fault('gone', 'the configuration names no such authorizer');
      const question = await seal.openText(new TextDecoder().decode(payload), authorizerPurpose('question', authorizer));
      const told = await (await this.#wire(named, wire)).ask(Buffer.from(question, 'base64'), deadline);
      const sealed = await seal.sealText(Buffer.from(told).toString('base64'), authorizerPurpose('answer', authorizer), Math.max(1, deadline - clock()));
      answer.end(new TextEncoder().encode(sealed));
    } catch (error) {
      answer.fail(asFault(error));
    }
  }

  async close(): Promise<void> {
    await Promise.all([...new Set([...this.#named.values(), ...this.#before.values()])].map(letGo));
  }

  #name(callout: Callout): Named {
    return { callout, credentials: calloutCredentials(callout.reaching, { ...this.#options, target: `the authorizer ${callout.name}` }), wires: new Map() };
  }

  /** U2. What could not be opened is tried again by the next question. */
  #wire({ callout, credentials, wires }: Named, kind: WireKind): Promise<Bytes> {
    const opened = wires.get(kind) ?? this.#open(kind, callout, credentials);
    wires.set(kind, opened);
    opened.catch(() => wires.delete(kind));
    return opened;
  }

  async #open(kind: WireKind, callout: Callout, { authorizeAt, proxyAuthorization }: CalloutCredentials): Promise<Bytes> {
    const { svids, learn } = this.#options;
    const target = { callout, timeoutMs: callout.reaching.timeoutMs ?? TIMEOUT_MS };
    const parts = { svids, learn, proxyAuthorization };
    if (kind === 'grpc') return (await import('#host/callouts/grpc-authorizer.ts')).openGrpcAuthorizer(target, parts, authorizeAt);
    const wire = await (await import('#host/callouts/http-authorizer.ts')).openHttpAuthorizer(target, parts, authorizeAt);
    return { ask: async (question, deadline) => answerBytes(await wire.ask(questionOf(question), deadline)), close: () => wire.close() };
  }
}

async function letGo({ credentials, wires }: Named): Promise<void> {
  await Promise.allSettled([...wires.values()].map(async (wire) => (await wire).close()));
  await credentials.close();
}
