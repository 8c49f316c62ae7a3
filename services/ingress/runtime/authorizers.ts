/**
 * The servers that policies ask, as this process is connected to them.
 *
 * A1 One connection for each that the generation in force names, made when that is loaded, however many policies name it.
 * A2 One that is named no more is closed as soon as nothing waits for it. A request that began before may still ask: for that
 *    it is opened again.
 * A3 A question ends within its time, and only so many wait: what is too much is like a server that is not there.
 */
import type { Authorizers, AuthorizerTarget, CheckOutcome } from '#policies/authorizer/authorizer.ts';
import { marked } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { clock } from '#host/clock.ts';
import type { OwnParts } from '#host/secured-connector.ts';

/** Loaded when one is named: a gateway without authorizers has none of it. */
const openGrpc = async (target: AuthorizerTarget, own: OwnParts) => (await import('./grpc-authorizer.ts')).openGrpcAuthorizer(target, own);
const openHttp = async (target: AuthorizerTarget, own: OwnParts) => (await import('./http-authorizer.ts')).openHttpAuthorizer(target, own);

const IN_FLIGHT_MAX = 4_096;
/** Who is away is away for every request: it is said once in a while. */
const SAID_MS = 10_000;

/** One server, connected to. */
export interface Wire<Question, Answer> {
  /** @throws Fault `timeout`, or `upstream` */
  ask(question: Question): Promise<Answer>;
  close(): void | Promise<void>;
}

export interface AuthorizerEvents {
  checked(authorizer: string, outcome: CheckOutcome): void;
  /** @param startedAt by performance.now(). */
  authorizerAnswered(authorizer: string, startedAt: number): void;
  failed(what: string, error: unknown): void;
}

export class AuthorizerConnections {
  readonly #events: AuthorizerEvents;
  readonly #own: OwnParts;
  readonly #held = new Map<string, Held<never, unknown>>();

  constructor(events: AuthorizerEvents, own: OwnParts = {}) {
    this.#events = events;
    this.#own = own;
  }

  /** Hands out authorizers while something is built, and retires those that nothing asked for. */
  during<T>(build: (authorizers: Authorizers) => T): T {
    const used = new Set<string>();
    const held = <Q, A>(kind: string, target: AuthorizerTarget, open: (target: AuthorizerTarget, own: OwnParts) => Promise<Wire<Q, A>>): Held<Q, A> => {
      const key = marked([kind, target]);
      used.add(key);
      const known = this.#held.get(key) as Held<Q, A> | undefined;
      if (known !== undefined) return known;
      const made = new Held(hostOf(target.url), () => open(target, this.#own), this.#events);
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
      counted: (url, outcome) => this.#events.checked(hostOf(url), outcome),
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

/** What operators call it by. */
const hostOf = (url: string): string => url.slice(url.indexOf('://') + '://'.length);

class Held<Question, Answer> {
  readonly #name: string;
  readonly #open: () => Promise<Wire<Question, Answer>>;
  readonly #events: AuthorizerEvents;
  #wire: Promise<Wire<Question, Answer>> | undefined;
  #flying = 0;
  #retired = false;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(name: string, open: () => Promise<Wire<Question, Answer>>, events: AuthorizerEvents) {
    this.#name = name;
    this.#open = open;
    this.#events = events;
    this.#connected().catch((error: unknown) => this.#say(error));
  }

  async ask(question: Question): Promise<Answer> {
    const startedAt = performance.now();
    this.#flying += 1;
    try {
      if (this.#flying > IN_FLIGHT_MAX) throw new Fault('upstream', `more than ${IN_FLIGHT_MAX} questions wait for an answer`);
      const wire = await this.#connected();
      const answer = await wire.ask(question);
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
