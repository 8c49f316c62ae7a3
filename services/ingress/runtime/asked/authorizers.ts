/**
 * The servers that policies ask, as this process is connected to them.
 *
 * A1 One connection for each that the generation in force names, made when that is loaded, however many policies name it.
 * A2 One that is named no more is closed as soon as nothing waits for it. A request that began before may still ask: for that
 *    it is opened again.
 * A3 A question ends within its time, and only so many wait: what is too much is like a server that is not there.
 */
import type { Authorizers, AuthorizerTarget, CheckOutcome, HttpAnswer, HttpQuestion } from '#policies/authorizer/authorizer.ts';
import type { CheckRequest, CheckResponse } from '#policies/authorizer/check.ts';
import { marked } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Wire } from '#host/callouts/wire.ts';
import { clock } from '#host/clock.ts';
import type { OwnParts } from '#host/secured-connector.ts';
import { type AskConnector, httpByConnector } from './connector-authorizers.ts';

const IN_FLIGHT_MAX = 4_096;
/** Who is away is away for every request: it is said once in a while. */
const SAID_MS = 10_000;

/** What this process has for its connections, and who asks with credentials, which it has none of. */
export interface AuthorizerParts extends OwnParts {
  readonly byConnector: AskConnector;
}

type Open<Q, A> = (target: AuthorizerTarget, parts: AuthorizerParts) => Promise<Wire<Q, A>>;

/** Loaded when one is named: a gateway without authorizers has none of it. */
const openGrpc: Open<CheckRequest, CheckResponse> = async (target, parts) => {
  const { checkCodec } = await import('#host/callouts/check-codec.ts');
  const { encode, decode } = await checkCodec();
  const { key } = target.callout;
  const wire = key === undefined ? await (await import('#host/callouts/grpc-authorizer.ts')).openGrpcAuthorizer(target, parts) : parts.byConnector('grpc', key);
  return { ask: async (request, deadline) => decode(await wire.ask(encode(request), deadline)), close: () => wire.close() };
};

const openHttp: Open<HttpQuestion, HttpAnswer> = async (target, parts) => {
  const { key } = target.callout;
  return key === undefined ? (await import('#host/callouts/http-authorizer.ts')).openHttpAuthorizer(target, parts) : httpByConnector(parts.byConnector('http', key));
};

export interface AuthorizerEvents {
  checked(authorizer: string, outcome: CheckOutcome): void;
  /** @param startedAt by performance.now(). */
  authorizerAnswered(authorizer: string, startedAt: number): void;
  failed(what: string, error: unknown): void;
}

export class AuthorizerConnections {
  readonly #events: AuthorizerEvents;
  readonly #parts: AuthorizerParts;
  readonly #held = new Map<string, Held<never, unknown>>();

  constructor(events: AuthorizerEvents, parts: AuthorizerParts) {
    this.#events = events;
    this.#parts = parts;
  }

  /** Hands out authorizers while something is built, and retires those that nothing asked for. */
  during<T>(build: (authorizers: Authorizers) => T): T {
    const used = new Set<string>();
    const held = <Q, A>(kind: string, target: AuthorizerTarget, open: Open<Q, A>): Held<Q, A> => {
      const key = marked([kind, target]);
      used.add(key);
      const known = this.#held.get(key) as Held<Q, A> | undefined;
      if (known !== undefined) return known;
      const made = new Held(target, () => open(target, this.#parts), this.#events);
      this.#held.set(key, made as Held<never, unknown>);
      return made;
    };
    const built = build({
      grpc: (target) => {
        const one = held('grpc', target, openGrpc);
        return { check: (request) => one.ask(request) };
      },
      http: (target) => {
        const one = held('http', target, openHttp);
        return { send: (question) => one.ask(question) };
      },
      counted: (authorizer, outcome) => this.#events.checked(authorizer, outcome),
    });
    for (const key of this.#held.keys()) if (!used.has(key)) this.#retire(key);
    return built;
  }

  stop(): void {
    for (const key of this.#held.keys()) this.#retire(key);
  }

  #retire(key: string): void {
    this.#held.get(key)?.retire();
    this.#held.delete(key);
  }
}

class Held<Question, Answer> {
  readonly #name: string;
  readonly #timeoutMs: number;
  readonly #open: () => Promise<Wire<Question, Answer>>;
  readonly #events: AuthorizerEvents;
  #wire: Promise<Wire<Question, Answer>> | undefined;
  #flying = 0;
  #retired = false;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor({ callout, timeoutMs }: AuthorizerTarget, open: () => Promise<Wire<Question, Answer>>, events: AuthorizerEvents) {
    this.#name = callout.name;
    this.#timeoutMs = timeoutMs;
    this.#open = open;
    this.#events = events;
    this.#connected().catch((error: unknown) => this.#say(error));
  }

  async ask(question: Question): Promise<Answer> {
    const startedAt = performance.now();
    const deadline = clock() + this.#timeoutMs;
    this.#flying += 1;
    try {
      if (this.#flying > IN_FLIGHT_MAX) throw new Fault('upstream', `more than ${IN_FLIGHT_MAX} questions wait for an answer`);
      const wire = await this.#connected();
      const answer = await wire.ask(question, deadline);
      this.#events.authorizerAnswered(this.#name, startedAt);
      return answer;
    } catch (error) {
      this.#say(error);
      throw error;
    } finally {
      this.#flying -= 1;
      this.#closeIfOver();
    }
  }

  /** A2 */
  retire(): void {
    this.#retired = true;
    this.#closeIfOver();
  }

  /** What could not be opened is tried again by the next question. */
  #connected(): Promise<Wire<Question, Answer>> {
    this.#wire ??= this.#open().catch((error: unknown) => {
      this.#wire = undefined;
      throw error;
    });
    return this.#wire;
  }

  #closeIfOver(): void {
    if (!this.#retired || this.#flying > 0) return;
    const wire = this.#wire;
    this.#wire = undefined;
    wire?.then((open) => open.close()).catch((error: unknown) => this.#say(error));
  }

  #say(error: unknown): void {
    if (clock() - this.#saidAt < SAID_MS) return;
    this.#saidAt = clock();
    this.#events.failed(`the authorizer ${this.#name} gave no answer`, error);
  }
}
