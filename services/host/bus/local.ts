/** The bus within one process. On its own it needs no broker; inside NatsBus it is the first place every message is tried. */
import { clock } from '../clock.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import { LocalProducer, type Producer } from './answer.ts';
import type { Answer, Asked, Bus, Call, Incoming, Meta, Outgoing, Question, Receiver, ServeOptions, Serving } from './bus.ts';
import { OpenCall } from './call.ts';
import { type Handler, type Listener, Registry, noResponders } from './registry.ts';

export class LocalBus implements Bus {
  readonly instance: string;
  readonly connected = true;
  protected readonly registry: Registry;

  constructor(options: { instance: string; onBug: (error: unknown, subject: string) => void }) {
    this.instance = options.instance;
    this.registry = new Registry(options.onBug);
  }

  onConnection(): () => void {
    return () => undefined;
  }

  onWake(): () => void {
    return () => undefined;
  }

  /** There is no process but this one. */
  watch(): () => void {
    return () => undefined;
  }

  serve<M extends Meta>(subject: Subject<M>, handler: (message: Asked<M>) => void, options?: ServeOptions): Serving {
    return { stop: this.registry.serve(subject, handler as Handler, options).remove };
  }

  listen<M extends Meta>(subject: Subject<M>, handler: (message: Incoming<M>) => void, options?: { queue?: string }): Serving {
    return { stop: this.registry.listen(subject, handler as Listener, options?.queue) };
  }

  call<M extends Meta>(subject: Subject<M>, question: Question<M>, receiver: Receiver): Call {
    const call = new OpenCall(receiver, question.deadline, () => undefined);
    const served = this.registry.pick(subject);
    if (served) served.dispatch(incoming(subject, question), new LocalProducer(call));
    else call.fail(noResponders(subject));
    return call;
  }

  request<M extends Meta>(subject: Subject<M>, question: Question<M>): Promise<Uint8Array> {
    return firstFrame((receiver) => this.call(subject, question, receiver));
  }

  forward<M extends Meta>(asked: Asked<Meta>, subject: Subject<M>, meta: M, payload = asked.payload): void {
    const served = this.registry.pick(subject);
    const onward = { subject, payload, meta, deadline: asked.deadline, traceparent: asked.traceparent };
    if (served) served.dispatch(onward, asked.answer as Answer & Producer);
    else asked.answer.fail(noResponders(subject));
  }

  send<M extends Meta>(subject: Subject<M>, outgoing: Outgoing<M>): void {
    const message = incoming(subject, { ...outgoing, deadline: Number.MAX_SAFE_INTEGER });
    const queued = this.registry.pickQueued(subject);
    if (queued) this.registry.hear(queued, message);
    for (const listener of this.registry.unqueued(subject)) this.registry.hear(listener, message);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  drain(deadline: number): Promise<void> {
    return within(this.registry.idle(), deadline);
  }
}

export const incoming = <M extends Meta>(subject: string, question: Question<M>): Incoming<M> => ({
  subject,
  payload: question.payload,
  meta: question.meta,
  deadline: question.deadline,
  traceparent: question.traceparent,
});

/** A call of which only the first frame matters. */
export function firstFrame(start: (receiver: Receiver) => Call): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const call = start({
      data: (payload) => {
        resolve(payload);
        queueMicrotask(() => call.cancel());
      },
      end: resolve,
      fail: (fault: Fault) => reject(fault),
    });
  });
}

export async function within(work: Promise<unknown>, deadline: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, deadline - clock()));
  });
  await Promise.race([work, limit]);
  clearTimeout(timer);
}
