/**
 * The other side of a connector: what session workers and ingresses say to it, on a bus of its own, so that a test sees
 * every frame, and can be as late, as doubtful or as dead as they may be.
 */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { Fault } from '#protocol/faults/fault.ts';
import { type Notification, type Request, type Response, encode, parseJson } from '#protocol/mcp/message.ts';
import { ANONYMOUS, principalKey } from '#protocol/records/principal.ts';
import { type OpenedUpstreams, type SessionAdoption, connectorCall, connectorClose, connectorOpen, connectorRelay, openedUpstreams } from '#protocol/subjects/connector.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';
import { SESSION_QUEUE, STREAM_QUEUE, sessionStream, sessionUpstreamsLost } from '#protocol/subjects/session.ts';
import { jetstream } from '@nats-io/jetstream';
import { NOTHING, type Bus, type Receiver } from '#host/bus/bus.ts';
import { createNatsBus } from '#host/bus/nats.ts';
import { readMeta } from '#host/bus/wire.ts';
import { clock } from '#host/clock.ts';
import { eventually } from './parley.ts';
import { LEGACY } from './wire.ts';

const CALL_MS = 60_000;

export type Message = Request | Notification | Response;

/** What came of one call, as it came. */
export class Heard implements Receiver {
  readonly heads: StreamFacts[] = [];
  readonly messages: Message[] = [];
  /** The response, or why there is none. */
  readonly done: Promise<Response | Fault>;
  /** In the order they came: `head`, `data`, `end`, `fail`. */
  readonly order: string[] = [];
  #over!: (outcome: Response | Fault) => void;
  cancel: () => void = () => undefined;

  constructor() {
    this.done = new Promise((resolve) => (this.#over = resolve));
  }

  head(facts: StreamFacts): void {
    this.order.push('head');
    this.heads.push(facts);
  }

  data(payload: Uint8Array): void {
    this.order.push('data');
    this.messages.push(parseJson(payload) as Message);
  }

  end(payload: Uint8Array): void {
    this.order.push('end');
    this.#over(payload.length === 0 ? { jsonrpc: '2.0' } : (parseJson(payload) as Response));
  }

  fail(fault: Fault): void {
    this.order.push('fail');
    this.#over(fault);
  }

  /** The first message, past or future, that is wanted. */
  message(wanted: (message: Message) => boolean): Promise<Message> {
    return eventually('a message of the call', () => this.messages.find(wanted));
  }

  /** The log it is told of. */
  log(): Promise<string> {
    return eventually('a log', () => this.heads.find(({ log }) => log !== undefined)?.log);
  }
}

export interface Opening {
  readonly session?: string;
  readonly adopt?: SessionAdoption;
  readonly capabilities?: object;
  readonly principal?: string;
}

export interface Sent {
  readonly id?: string | number;
  readonly again?: boolean;
  readonly transient?: boolean;
  readonly ms?: number;
}

/** A frame of a log, as it is kept. */
export interface Kept {
  readonly seq: number;
  readonly last: boolean;
  readonly by: string | undefined;
  readonly id: string | undefined;
  readonly message: Message | undefined;
}

let sides = 0;

export class SessionSide {
  readonly bus: Bus;
  readonly connection: NatsConnection;
  /** Sessions that were said to be let go of, in order. */
  readonly lost: { readonly session: string; readonly connector: string }[] = [];

  private constructor(connection: NatsConnection) {
    sides += 1;
    this.connection = connection;
    this.bus = createNatsBus({ connection, instance: `side-${process.pid}x${sides}`, onBug: (error) => console.error(error) });
  }

  static async open(natsUrl: string): Promise<SessionSide> {
    const side = new SessionSide(await connect({ servers: natsUrl }));
    await side.connection.flush();
    return side;
  }

  /** Asks any connector of the backend to open a session's upstreams. */
  opening(backend: string, { session = crypto.randomUUID(), adopt, capabilities = { elicitation: {} }, principal = ANONYMOUS }: Opening = {}): Heard {
    const initialize = encode({ jsonrpc: '2.0', id: 'init', method: 'initialize', params: { protocolVersion: LEGACY, capabilities, clientInfo: { name: 'side', version: '1' } } });
    const meta = { session, principal, route: 'r', ...(adopt === undefined ? {} : { adopt: JSON.stringify(adopt) }) };
    const heard = new Heard();
    const call = this.bus.call(connectorOpen.to({ backend }), { payload: initialize, meta, deadline: clock() + CALL_MS }, heard);
    heard.cancel = () => call.cancel();
    return heard;
  }

  /** Opens them, and listens to what becomes of them. */
  async openSession(backend: string, options: Opening = {}): Promise<SideSession> {
    const { session = crypto.randomUUID(), principal = ANONYMOUS } = options;
    const heard = this.opening(backend, { ...options, session });
    const response = await heard.done;
    if (response instanceof Error) throw response;
    this.bus.listen(
      sessionUpstreamsLost.to({ principal: principalKey(principal), session }),
      ({ meta: { connector } }) => void this.lost.push({ session, connector }),
      { queue: SESSION_QUEUE },
    );
    await this.bus.flush();
    return new SideSession(this, { session, principal, response, upstreams: openedUpstreams.parse(heard.messages[0]) });
  }

  /** A modern call, at any connector of the backend. */
  callModern(backend: string, request: { readonly method: string; readonly id: string; readonly params: object }, again = false): Heard {
    const heard = new Heard();
    const { method, id, params } = request;
    const { name } = params as { name?: string };
    const meta = { kind: 'request' as const, method, id: JSON.stringify(id), name, principal: ANONYMOUS, route: 'r', ...(again ? { again: '1' as const } : {}) };
    const call = this.bus.call(connectorCall.to({ backend }), { payload: encode({ jsonrpc: '2.0', ...request }), meta, deadline: clock() + CALL_MS }, heard);
    heard.cancel = () => call.cancel();
    return heard;
  }

  close(): Promise<void> {
    return this.connection.close();
  }
}

export class SideSession {
  readonly id: string;
  readonly principal: string;
  readonly response: Response;
  upstreams: OpenedUpstreams;
  readonly #side: SessionSide;

  constructor(side: SessionSide, opened: { readonly session: string; readonly principal: string; readonly response: Response; readonly upstreams: OpenedUpstreams }) {
    this.#side = side;
    this.id = opened.session;
    this.principal = opened.principal;
    this.response = opened.response;
    this.upstreams = opened.upstreams;
  }

  get connector(): string {
    return this.upstreams.connector;
  }

  /** What another connector is given of this session. */
  adoption(set: Partial<SessionAdoption> = {}): SessionAdoption {
    const { connector, version, targets } = this.upstreams;
    return { connector, version, targets, initialized: true, logLevel: null, subscriptions: [], listening: false, ...set };
  }

  async initialized(): Promise<void> {
    await this.notify('notifications/initialized');
  }

  /** A request of the client, at the connector that holds the session unless another is named. */
  request(method: string, params: object = {}, { id = crypto.randomUUID(), again, transient, ms = CALL_MS }: Sent = {}, connector = this.connector): Heard {
    const heard = new Heard();
    const { name } = params as { name?: string };
    const meta = {
      verb: 'relay' as const,
      session: this.id,
      kind: 'request' as const,
      method,
      id: JSON.stringify(id),
      name,
      ...(again === true ? { again: '1' as const } : {}),
      ...(transient === true ? { transient: '1' as const } : {}),
    };
    const payload = encode({ jsonrpc: '2.0', id, method, params });
    const call = this.#side.bus.call(connectorRelay.to({ instance: connector }), { payload, meta, deadline: clock() + ms }, heard);
    heard.cancel = () => call.cancel();
    return heard;
  }

  call(tool: string, args: object = {}, sent: Sent = {}, connector = this.connector): Heard {
    return this.request('tools/call', { name: tool, arguments: args, _meta: { progressToken: 'p' } }, sent, connector);
  }

  notify(method: string, params: object = {}, connector = this.connector): Promise<Response | Fault> {
    return this.#say({ jsonrpc: '2.0', method, params }, { kind: 'notification', method }, connector);
  }

  respond(id: string, result: object, connector = this.connector): Promise<Response | Fault> {
    return this.#say({ jsonrpc: '2.0', id, result }, { kind: 'response' }, connector);
  }

  /** The client opened a stream of its own. */
  listen(connector = this.connector): Promise<Response | Fault> {
    return this.#ask(NOTHING, { verb: 'listen', session: this.id }, connector);
  }

  /** As an ingress that holds the client's stream: takes what the upstreams say by themselves. */
  takeUnsolicited(answer: (message: Message) => Fault | undefined = () => undefined): { readonly messages: Message[]; stop(): Promise<void> } {
    const messages: Message[] = [];
    const subject = sessionStream.to({ principal: principalKey(this.principal), session: this.id });
    const serving = this.#side.bus.serve(
      subject,
      (asked) => {
        const message = parseJson(asked.payload) as Message;
        const refusal = answer(message);
        if (refusal !== undefined) return asked.answer.fail(refusal);
        messages.push(message);
        asked.answer.end(NOTHING);
      },
      { queue: STREAM_QUEUE },
    );
    return {
      messages,
      stop: async () => {
        serving.stop();
        await this.#side.connection.flush();
      },
    };
  }

  close(handedOver = false, connector = this.connector): void {
    const meta = { session: this.id, ...(handedOver ? { handedOver: '1' as const } : {}) };
    this.#side.bus.send(connectorClose.to({ instance: connector }), { payload: NOTHING, meta });
  }

  /** All of a log, up to its last frame. */
  async log(stream: string): Promise<Kept[]> {
    const subject = replayFrame.to({ principal: principalKey(this.principal), session: this.id, stream });
    const consumer = await jetstream(this.#side.connection).consumers.get(REPLAY_STREAM, { filter_subjects: [subject] });
    const messages = await consumer.consume();
    const kept: Kept[] = [];
    const late = setTimeout(() => messages.stop(), 20_000);
    for await (const message of messages) {
      const { seq, last, by, id } = readMeta(message);
      kept.push({ seq: Number(seq), last: last === '1', by, id, message: message.data.length === 0 ? undefined : (parseJson(message.data) as Message) });
      if (last === '1') break;
    }
    clearTimeout(late);
    await messages.close();
    return kept;
  }

  #say(message: object, meta: { kind: 'notification' | 'response'; method?: string }, connector: string): Promise<Response | Fault> {
    return this.#ask(encode(message), { verb: 'relay', session: this.id, ...meta }, connector);
  }

  async #ask(payload: Uint8Array, meta: { verb: 'relay' | 'listen'; session: string; kind?: 'notification' | 'response'; method?: string }, connector: string): Promise<Response | Fault> {
    const heard = new Heard();
    this.#side.bus.call(connectorRelay.to({ instance: connector }), { payload, meta, deadline: clock() + CALL_MS }, heard);
    return heard.done;
  }
}
