/**
 * The bus across processes: local first, NATS beyond.
 *
 * N1 One wildcard subscription per process receives the frames of all its calls.
 * N2 A `call` or a queued `send` stays in this process when a member is here; an event always goes through NATS, so that
 *    everybody, this process included, hears it once.
 * N3 When the connection is lost, calls that were out fail at once: their answers may have been sent into the gap, and a
 *    definite error beats a wait for the deadline.
 */
import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';
import { Fault } from '#protocol/faults/fault.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import { callCancelled, control, inbox } from '#protocol/subjects/frames.ts';
import { LocalProducer, type Producer } from './answer.ts';
import type { Asked, Bus, Call, Incoming, Meta, Outgoing, Question, Receiver, ServeOptions, Serving } from './bus.ts';
import { OpenCall } from './call.ts';
import { firstFrame, incoming, within } from './local.ts';
import { Outbox } from './outbox.ts';
import { type Handler, type Listener, Registry, noResponders } from './registry.ts';
import { HEADER_BYTES_MAX, RemoteLink, RemoteProducer, tooLarge } from './remote.ts';
import { faultHeaders, foldReply, questionHeaders, readFrame, readMeta, readQuestion, unfoldReply } from './wire.ts';

export interface NatsBusOptions {
  readonly connection: NatsConnection;
  /** A subject token, unique to this process's life. */
  readonly instance: string;
  readonly onBug: (error: unknown, subject: string) => void;
  readonly onDropped?: (subject: string) => void;
}

const NO_RESPONDERS = 503;
const busDown = (): Fault => new Fault('overloaded', 'the connection to NATS is lost', { reason: 'bus-down' });

class NatsBus implements Bus {
  readonly instance: string;
  readonly #nc: NatsConnection;
  readonly #outbox: Outbox;
  readonly #registry: Registry;
  readonly #calls = new Map<string, OpenCall>();
  readonly #producers = new Map<string, RemoteProducer>();
  readonly #listening = new Set<(connected: boolean) => void>();
  readonly #subscriptions = new Set<Subscription>();
  /** Those that bring questions from other processes: the first to go in a drain; what is asked in here is still answered. */
  readonly #taking = new Set<Subscription>();
  /** Served no more, and still owed what the broker had handed over: a drain waits for them too. */
  readonly #leaving = new Set<Promise<void>>();
  readonly #onDropped: (subject: string) => void;
  readonly #inboxPrefix: string;
  #connected = true;
  #nextCall = 0;

  constructor(options: NatsBusOptions) {
    this.instance = options.instance;
    this.#nc = options.connection;
    this.#outbox = new Outbox(options.connection);
    this.#registry = new Registry(options.onBug);
    this.#onDropped = options.onDropped ?? (() => undefined);
    this.#inboxPrefix = inbox.to({ instance: this.instance, call: '0' }).slice(0, -1);
    this.#subscribe(`${this.#inboxPrefix}*`, (message) => this.#onFrame(message));
    this.#subscribe(control.to({ instance: this.instance }), (message) => this.#onControl(message));
    this.#subscribe(callCancelled.to({}), (message) => this.#onControl(message));
    void this.#follow();
  }

  get connected(): boolean {
    return this.#connected;
  }

  onConnection(listen: (connected: boolean) => void): () => void {
    this.#listening.add(listen);
    return () => this.#listening.delete(listen);
  }

  serve<M extends Meta>(subject: Subject<M>, handler: (message: Asked<M>) => void, options?: ServeOptions): Serving {
    const { served, remove } = this.#registry.serve(subject, handler as Handler, options);
    const dispatch = (message: Msg): void => {
      if (message.reply === undefined || message.reply === '') return;
      served.dispatch(readQuestion(message), this.#producer(message.reply));
    };
    const subscription = this.#subscribe(subject, dispatch, options?.queue);
    this.#taking.add(subscription);
    const stop = (): void => {
      remove();
      this.#taking.delete(subscription);
      const left = letGo(subscription).then(() => {
        this.#subscriptions.delete(subscription);
        this.#leaving.delete(left);
      });
      this.#leaving.add(left);
    };
    return { stop };
  }

  listen<M extends Meta>(subject: Subject<M>, handler: (message: Incoming<M>) => void, options?: { queue?: string }): Serving {
    const listener = handler as Listener;
    const remove = this.#registry.listen(subject, listener, options?.queue);
    const hear = (message: Msg): void => this.#registry.hear(listener, readQuestion(message));
    return this.#serving(this.#subscribe(subject, hear, options?.queue), remove);
  }

  call<M extends Meta>(subject: Subject<M>, question: Question<M>, receiver: Receiver): Call {
    const served = this.#registry.pick(subject);
    if (served) {
      const call = new OpenCall(receiver, question.deadline, () => undefined);
      served.dispatch(incoming(subject, question), new LocalProducer(call));
      return call;
    }
    const token = this.#token();
    const call = new OpenCall(receiver, question.deadline, () => this.#calls.delete(token));
    this.#post(subject, question.payload, question, this.#expect(token, call));
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
    const reply = producer instanceof RemoteProducer ? foldReply(producer.reply, this.instance) : this.#expectLocal(producer as LocalProducer);
    if (!this.#connected) return producer.fail(busDown());
    if (payload.length + HEADER_BYTES_MAX > this.#outbox.bytesMax) return producer.fail(tooLarge(payload.length, this.#outbox.bytesMax));
    producer.handOff();
    this.#outbox.post({ subject, payload, headers: questionHeaders(onward), reply });
  }

  send<M extends Meta>(subject: Subject<M>, outgoing: Outgoing<M>): void {
    const question = { ...outgoing, deadline: Number.MAX_SAFE_INTEGER };
    const queued = this.#registry.pickQueued(subject);
    if (queued) this.#registry.hear(queued, incoming(subject, question));
    else if (this.#connected) this.#outbox.post({ subject, payload: outgoing.payload, headers: questionHeaders(question) });
    else this.#onDropped(subject);
  }

  flush(): Promise<void> {
    this.#outbox.flush();
    return this.#nc.flush();
  }

  async drain(deadline: number): Promise<void> {
    const takenLast = [...this.#taking].map(letGo);
    if (this.#connected) await within(Promise.all([...takenLast, ...this.#leaving]).then(() => undefined), deadline);
    await within(this.#registry.idle(), deadline);
    for (const call of this.#calls.values()) call.cancel();
    this.#outbox.flush();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    if (!this.#nc.isClosed() && this.#connected) await within(this.#nc.flush(), deadline);
  }

  #post(subject: string, payload: Uint8Array, question: Question<Meta>, reply: string): void {
    if (!this.#connected) return this.#callOf(reply)?.fail(busDown());
    if (payload.length + HEADER_BYTES_MAX > this.#outbox.bytesMax) return this.#callOf(reply)?.fail(tooLarge(payload.length, this.#outbox.bytesMax));
    this.#outbox.post({ subject, payload, headers: questionHeaders(question), reply });
  }

  #token(): string {
    return (this.#nextCall++).toString(36);
  }

  #expect(token: string, call: OpenCall): string {
    const reply = `${this.#inboxPrefix}${token}`;
    this.#calls.set(token, call);
    call.attach(new RemoteLink(this.#outbox, reply));
    return reply;
  }

  /** A local asker whose question leaves this process: from here on its answer comes through the inbox. */
  #expectLocal(producer: LocalProducer): string {
    const token = this.#token();
    producer.call.whenClosed(() => this.#calls.delete(token));
    return this.#expect(token, producer.call);
  }

  #callOf(reply: string): OpenCall | undefined {
    return this.#calls.get(reply.slice(this.#inboxPrefix.length));
  }

  #producer(folded: string): RemoteProducer {
    const reply = unfoldReply(folded);
    const producer = new RemoteProducer(this.#outbox, reply, this.instance);
    this.#producers.set(reply, producer);
    producer.whenClosed(() => this.#producers.delete(reply));
    return producer;
  }

  #onFrame(message: Msg): void {
    const call = this.#callOf(message.subject);
    if (message.headers?.code === NO_RESPONDERS) return this.#nobody(message.subject, call, noResponders(message.headers.get('Nats-Subject') || 'the subject'));
    if (call === undefined) return;
    const frame = readFrame(message);
    if (frame.fault) return call.fail(frame.fault);
    if (frame.control !== undefined) (call.producer as RemoteLink).control = frame.control;
    if (frame.kind === 'end') call.end(frame.payload, frame.seq, frame.facts);
    else if (frame.kind === 'head') call.head(frame.facts ?? {}, frame.seq);
    else call.data(frame.payload, frame.seq);
  }

  /** Of a question asked here, or of one passed on for an asker elsewhere, who is then told from here. */
  #nobody(reply: string, call: OpenCall | undefined, fault: Fault): void {
    if (call !== undefined) return call.fail(fault);
    const asker = unfoldReply(reply);
    if (asker !== reply) this.#outbox.post({ subject: asker, payload: fault.message, headers: faultHeaders(fault, 0) });
  }

  #onControl(message: Msg): void {
    const { call, credit } = readMeta(message);
    const producer = this.#producers.get(call ?? '');
    if (credit === undefined) producer?.cancel();
    else producer?.credit(Number(credit) || 0);
  }

  #subscribe(subject: string, callback: (message: Msg) => void, queue?: string): Subscription {
    const subscription = this.#nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error === null) callback(message);
      },
    });
    this.#subscriptions.add(subscription);
    return subscription;
  }

  #serving(subscription: Subscription, remove: () => void): Serving {
    return {
      stop: () => {
        remove();
        this.#subscriptions.delete(subscription);
        if (!subscription.isClosed()) subscription.unsubscribe();
      },
    };
  }

  async #follow(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (status.type === 'disconnect' || status.type === 'close') this.#turn(false);
      else if (status.type === 'reconnect') this.#turn(true);
    }
  }

  #turn(connected: boolean): void {
    if (connected === this.#connected) return;
    this.#connected = connected;
    if (!connected) for (const call of this.#calls.values()) call.fail(busDown());
    for (const listen of this.#listening) listen(connected);
  }
}

/** What the broker had handed over before it heard of the end is still served: dropped, its asker would wait for its deadline. */
async function letGo(subscription: Subscription): Promise<void> {
  if (!subscription.isClosed() && !subscription.isDraining()) await subscription.drain().catch(() => undefined);
}

export const createNatsBus = (options: NatsBusOptions): Bus => new NatsBus(options);
