/**
 * The bus across processes: local first, NATS beyond.
 *
 * N1 One wildcard subscription per process receives the frames of all its calls.
 * N2 A `call` or a queued `send` stays in this process when a member is here; an event always goes through NATS, so that
 *    everybody, this process included, hears it once.
 * N3 A lost connection is waited for (AWAY_MS): what was to leave leaves when it is back, and every open call is sought
 *    then, since questions, frames and credit may have been lost in the gap. After that, remote calls fail.
 */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import { Fault } from '#protocol/faults/fault.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import { alive, callCancelled, callSought, control, serviceOf } from '#protocol/subjects/frames.ts';
import { LocalProducer, type Producer } from './answer.ts';
import { NOTHING, type Asked, type Bus, type Call, type Incoming, type Meta, type Outgoing, type Question, type Receiver, type ServeOptions, type Serving } from './bus.ts';
import { OpenCall } from './call.ts';
import { RemoteCalls } from './calls.ts';
import { firstFrame, incoming, within } from './local.ts';
import { type Leaving, Outbox } from './outbox.ts';
import { Patience } from './patience.ts';
import { Peers } from './peers.ts';
import { RemoteProducers } from './producers.ts';
import { type Handler, type Listener, Registry, noResponders } from './registry.ts';
import { HEADER_BYTES_MAX, RemoteProducer, tooLarge } from './remote.ts';
import { Subscriptions } from './subscriptions.ts';
import { TICK_MS } from './tick.ts';
import { WakeGuard } from './wake-guard.ts';
import { faultHeaders, foldReply, questionHeaders, readFrame, readMeta, readQuestion, unfoldReply } from './wire.ts';

export interface NatsBusOptions {
  readonly connection: NatsConnection;
  /** A subject token, unique to this process's life. */
  readonly instance: string;
  readonly onBug: (error: unknown, subject: string) => void;
  readonly onDropped?: (subject: string) => void;
}

/** Longer than it takes to reach another member of a cluster, shorter than a caller's patience. */
const AWAY_MS = 5_000;
const NO_RESPONDERS = 503;
const busDown = (): Fault => new Fault('overloaded', 'the connection to NATS is lost', { reason: 'bus-down' });

class NatsBus implements Bus {
  readonly instance: string;
  readonly #nc: NatsConnection;
  readonly #outbox: Outbox;
  readonly #registry: Registry;
  readonly #calls: RemoteCalls;
  readonly #producers: RemoteProducers;
  readonly #peers: Peers;
  readonly #guard: WakeGuard;
  readonly #patience: Patience;
  readonly #listening = new Set<(connected: boolean) => void>();
  readonly #waking = new Set<() => void>();
  readonly #subscriptions: Subscriptions;
  readonly #onDropped: (subject: string) => void;
  readonly #ticker: NodeJS.Timeout;
  #connected = true;
  /** Lost for longer than AWAY_MS. */
  #away: NodeJS.Timeout | true | undefined;

  constructor(options: NatsBusOptions) {
    const { connection, instance } = options;
    this.instance = instance;
    this.#nc = connection;
    this.#subscriptions = new Subscriptions(connection);
    this.#onDropped = options.onDropped ?? (() => undefined);
    this.#outbox = new Outbox(connection, (message) => this.#drop(message));
    this.#registry = new Registry(options.onBug);
    this.#calls = new RemoteCalls(instance, this.#outbox);
    this.#producers = new RemoteProducers(instance, this.#outbox);
    this.#patience = new Patience(this.#outbox);
    this.#peers = new Peers(this.#outbox, this.#calls.inboxPrefix);
    this.#guard = new WakeGuard(() => connection.flush(), () => this.#woke());
    const own = { service: serviceOf(instance), instance };
    this.#subscriptions.add(`${this.#calls.inboxPrefix}*`, (message) => this.#onFrame(message));
    this.#subscriptions.add(alive.to(own), (message) => void message.respond(NOTHING));
    for (const subject of [control.to(own), callCancelled.to({}), callSought.to({})]) this.#subscriptions.add(subject, (message) => this.#onControl(message));
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#ticker.unref();
    void this.#follow();
  }

  get connected(): boolean {
    return this.#connected;
  }

  onConnection(listen: (connected: boolean) => void): () => void {
    this.#listening.add(listen);
    return () => this.#listening.delete(listen);
  }

  onWake(listen: () => void): () => void {
    this.#waking.add(listen);
    return () => this.#waking.delete(listen);
  }

  watch(instance: string, lost: () => void): () => void {
    return instance === this.instance ? () => undefined : this.#peers.watch(instance, lost);
  }

  serve<M extends Meta>(subject: Subject<M>, handler: (message: Asked<M>) => void, options?: ServeOptions): Serving {
    const { served, remove } = this.#registry.serve(subject, handler as Handler, options);
    const dispatch = (message: Msg): void => {
      const { reply } = message;
      if (reply === undefined || reply === '') return;
      const serve = (): void => served.dispatch(readQuestion(message), this.#producers.open(reply));
      if (this.#guard.holding()) this.#guard.hold(unfoldReply(reply), serve);
      else serve();
    };
    const leave = this.#subscriptions.take(subject, dispatch, options?.queue);
    return {
      stop: () => {
        remove();
        leave();
      },
    };
  }

  listen<M extends Meta>(subject: Subject<M>, handler: (message: Incoming<M>) => void, options?: { queue?: string }): Serving {
    const listener = handler as Listener;
    const remove = this.#registry.listen(subject, listener, options?.queue);
    const hear = (message: Msg): void => this.#registry.hear(listener, readQuestion(message));
    const leave = this.#subscriptions.add(subject, hear, options?.queue);
    return {
      stop: () => {
        remove();
        leave();
      },
    };
  }

  call<M extends Meta>(subject: Subject<M>, question: Question<M>, receiver: Receiver): Call {
    const served = this.#registry.pick(subject);
    if (served) {
      const call = new OpenCall(receiver, question.deadline, () => undefined);
      served.dispatch(incoming(subject, question), new LocalProducer(call));
      return call;
    }
    const { call, reply } = this.#calls.open(receiver, question.deadline);
    const refusal = this.#refusal(question.payload);
    if (refusal !== undefined) call.fail(refusal);
    else this.#ask({ subject, payload: question.payload, headers: questionHeaders(question), reply });
    return call;
  }

  request<M extends Meta>(subject: Subject<M>, question: Question<M>): Promise<Uint8Array> {
    return firstFrame((receiver) => this.call(subject, question, receiver));
  }

  forward<M extends Meta>(asked: Asked<Meta>, subject: Subject<M>, meta: M, payload = asked.payload): void {
    const producer = asked.answer as Producer;
    const onward = { subject, payload, meta, deadline: asked.deadline, traceparent: asked.traceparent };
    const served = this.#registry.pick(subject);
    if (served) return served.dispatch(onward, producer);
    if (!producer.open) return;
    const refusal = this.#refusal(payload);
    if (refusal !== undefined) return producer.fail(refusal);
    // A local asker's answer comes through the inbox from here on.
    const reply = producer instanceof RemoteProducer ? foldReply(producer.reply, this.instance) : this.#calls.adopt((producer as LocalProducer).call);
    producer.handOff();
    this.#ask({ subject, payload, headers: questionHeaders(onward), reply });
  }

  send<M extends Meta>(subject: Subject<M>, outgoing: Outgoing<M>): void {
    const question = { ...outgoing, deadline: Number.MAX_SAFE_INTEGER };
    const queued = this.#registry.pickQueued(subject);
    if (queued) this.#registry.hear(queued, incoming(subject, question));
    else if (this.#away === true) this.#onDropped(subject);
    else this.#outbox.post({ subject, payload: outgoing.payload, headers: questionHeaders(question) });
  }

  flush(): Promise<void> {
    this.#outbox.flush();
    return this.#nc.flush();
  }

  async drain(deadline: number): Promise<void> {
    const taken = this.#subscriptions.stopTaking();
    if (this.#connected) await within(taken, deadline);
    await within(this.#registry.idle(), deadline);
    this.#calls.letGoAll();
    this.#outbox.flush();
    this.#subscriptions.close();
    if (!this.#nc.isClosed() && this.#connected) await within(this.#nc.flush(), deadline);
    clearInterval(this.#ticker);
  }

  #ask(question: Leaving & { readonly reply: string }): void {
    this.#patience.keep(question);
    this.#outbox.post(question);
  }

  /** Why a question with this payload cannot leave. */
  #refusal(payload: Uint8Array): Fault | undefined {
    if (this.#away === true) return busDown();
    const { bytesMax } = this.#outbox;
    return payload.length + HEADER_BYTES_MAX > bytesMax ? tooLarge(payload.length, bytesMax) : undefined;
  }

  #onFrame(message: Msg): void {
    const { subject, headers } = message;
    const nobody = headers?.code === NO_RESPONDERS;
    if (this.#peers.heard(subject, nobody)) return;
    const call = this.#calls.find(subject);
    if (nobody && this.#patience.again(subject)) return;
    if (nobody) return this.#nobody(subject, call, noResponders(headers.get('Nats-Subject') || 'the subject'));
    if (call === undefined) return;
    const frame = readFrame(message);
    if (frame.fault) return call.fail(frame.fault);
    if (frame.control !== undefined) this.#calls.held(call, frame.control);
    if (frame.kind === 'end') call.end(frame.payload, frame.seq, frame.facts);
    else if (frame.kind === 'head') call.head(frame.facts ?? {}, frame.seq);
    else if (frame.kind === 'data') call.data(frame.payload, frame.seq);
  }

  /** Of a question asked here, or of one passed on for an asker elsewhere, who is then told from here. */
  #nobody(reply: string, call: OpenCall | undefined, fault: Fault): void {
    if (call !== undefined) return call.fail(fault);
    const asker = unfoldReply(reply);
    if (asker !== reply) this.#outbox.post({ subject: asker, payload: fault.message, headers: faultHeaders(fault, 0) });
  }

  #onControl(message: Msg): void {
    const { call = '', drained, next } = readMeta(message);
    if (next !== undefined) return this.#producers.sought(call, Number(drained) || 0, Number(next) || 0);
    if (drained !== undefined) return this.#producers.credit(call, Number(drained) || 0);
    this.#guard.cancelled(call);
    this.#producers.cancel(call);
  }

  #tick(): void {
    this.#guard.beat();
    if (!this.#connected) return;
    this.#producers.tick(this.#peers);
    this.#calls.tick(this.#peers);
    this.#peers.tick();
  }

  #woke(): void {
    this.#peers.forgive();
    for (const listen of this.#waking) listen();
  }

  async #follow(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (status.type === 'disconnect' || status.type === 'close') this.#lose();
      else if (status.type === 'reconnect') this.#regain();
      // The members of the cluster changed, or this one is about to go.
      else if (status.type === 'update' || status.type === 'ldm') this.#patience.begin();
    }
  }

  #lose(): void {
    if (!this.#connected) return;
    this.#connected = false;
    this.#patience.begin();
    this.#outbox.hold();
    this.#away = setTimeout(() => {
      this.#away = true;
      this.#calls.failAll(busDown());
      this.#outbox.abandon();
    }, AWAY_MS).unref();
    for (const listen of this.#listening) listen(false);
  }

  #regain(): void {
    if (this.#connected) return;
    this.#connected = true;
    if (this.#away !== true) clearTimeout(this.#away);
    this.#away = undefined;
    this.#peers.forgive();
    this.#patience.begin();
    this.#outbox.release();
    this.#producers.regained();
    this.#calls.regained();
    for (const listen of this.#listening) listen(true);
  }

  /** What waited in vain: its asker, when it is one of ours, was told already. */
  #drop({ subject, reply }: Leaving): void {
    const call = reply === undefined ? undefined : this.#calls.find(reply);
    if (call === undefined) this.#onDropped(subject);
    else call.fail(busDown());
  }
}

export const createNatsBus = (options: NatsBusOptions): Bus => new NatsBus(options);
