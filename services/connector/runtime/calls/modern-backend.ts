/** Stateless calls of modern clients: to the one target they name, or to all of them and merged. Nothing is remembered between calls. */
import type { McpBackend } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Id, type Response, encode } from '#protocol/mcp/message.ts';
import { Naming } from '#protocol/mcp/naming.ts';
import { NOTHING, type Asked, type Meta } from '#host/bus/bus.ts';
import type { SpanHandle } from '#host/telemetry/spans.ts';
import type { HandleKeys } from '../../core/handle-seal.ts';
import { isList } from '../../core/lists.ts';
import { mergeDiscover } from '../../core/merge.ts';
import { type List, isToolList } from '../../core/news.ts';
import { rewriteFromTarget } from '../../core/rewrite.ts';
import { keyOfItems } from '../../core/list-subjects.ts';
import { onlyLegacy } from '../../core/version-fault.ts';
import type { ConnectorEvents, Denied } from '../../events.ts';
import type { CallJudge } from './call-rules.ts';
import { answerForClient } from './client-answer.ts';
import { Handles } from './handles.ts';
import { ACKNOWLEDGED, type Filter, ListNews, Listen, listenEnded } from './listen.ts';
import { type Member, Multiplexer } from './multiplexer.ts';
import { type PinSlot, TOOL_LIST, UNTRUSTED } from '../pins/pin-guard.ts';
import type { Judging } from '../sessions/session-rules.ts';
import { lostFault } from '../sessions/session-tools.ts';
import type { Target } from '../targets/target.ts';
import { tracedPayload } from '../targets/trace.ts';
import { type Upstream, UpstreamCall, type UpstreamReceiver, requestWithin, sealedCaller } from '../targets/upstream.ts';

export interface CallMeta extends Meta {
  readonly kind: 'request' | 'notification' | 'response';
  readonly method?: string | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly params?: string | undefined;
  /** JSON of CallFacts. */
  readonly facts?: string | undefined;
  /** Sealed: who calls (caller.ts). */
  readonly caller?: string | undefined;
  readonly principal: string;
  readonly route: string;
  /** An earlier attempt may have run. */
  readonly again?: string | undefined;
}

export type ModernAsked = Asked<CallMeta> & { readonly span?: SpanHandle | undefined };
export type ModernEvents = Pick<ConnectorEvents, 'callEnded' | 'callRetried' | 'callDenied' | 'itemsHidden' | 'handleRefused'>;

export interface ModernBackendOptions {
  readonly backend: McpBackend;
  readonly targets: ReadonlyMap<string, Target>;
  readonly events: ModernEvents;
  readonly judge: Judging;
  readonly pins: PinSlot;
  readonly handleKeys: HandleKeys;
}

/** A stream of news that is open. */
interface OpenListen {
  end(): void;
  tellLists(only: List | undefined): void;
}

interface Admitting {
  readonly upstream: Upstream;
  readonly judge: CallJudge | undefined;
  /** As the target is to get it: its handles are opened. */
  readonly call: UpstreamCall;
  /** In the client's words. */
  readonly asked: UpstreamCall;
}

export class ModernBackend {
  readonly #backend: McpBackend;
  readonly #targets: ReadonlyMap<string, Target>;
  readonly #naming: Naming;
  readonly #multiplexer: Multiplexer;
  readonly #events: ModernEvents;
  readonly #handleKeys: HandleKeys;
  /** Streams that last until one side ends them. */
  readonly #listens = new Set<OpenListen>();
  readonly #judge: Judging;
  readonly #pins: PinSlot;

  constructor({ backend, targets, events, judge, pins, handleKeys }: ModernBackendOptions) {
    this.#pins = pins;
    this.#backend = backend;
    this.#targets = targets;
    this.#naming = new Naming(backend);
    this.#multiplexer = new Multiplexer(backend, this.#naming, pins);
    this.#events = events;
    this.#judge = judge;
    this.#handleKeys = handleKeys;
  }

  call(asked: ModernAsked): void {
    const startedAt = performance.now();
    this.#call(asked, startedAt).catch((error: unknown) => {
      const fault = error instanceof Fault ? error : new Fault('bug', 'internal error', {}, { cause: error });
      asked.answer.fail(fault);
      this.#ended(asked, '-', fault, startedAt);
    });
  }

  /** Ends every stream as a server that has no more to say does: its client listens again, elsewhere. */
  endListens(): void {
    for (const listen of this.#listens) listen.end();
  }

  /** Clients may see more or less from now on, of all lists or of one: those that listen are told. */
  seeOthers(only?: List): void {
    this.#multiplexer.forgetOwners();
    for (const listen of this.#listens) listen.tellLists(only);
  }

  async #call(asked: ModernAsked, startedAt: number): Promise<void> {
    if (asked.meta.kind !== 'request') return asked.answer.end(NOTHING);
    const call = readCall(asked);
    const judge = this.#judge(asked.meta.facts);
    const handles = this.#handles(asked.meta);
    const [only] = this.#targets.values();
    if (!this.#naming.shared && only) {
      if ((await only.discover(call.caller)) === undefined) throw onlyLegacy(call.request);
      return this.#admitted({ upstream: only.modern, judge, call: handles.opened(call), asked: call }, asked, startedAt);
    }
    const members = await this.#members(call);
    if (members.size === 0) throw onlyLegacy(call.request);
    if (call.method === 'server/discover') return this.#answer(asked, startedAt, mergeDiscover([...members].map(([target, { discover }]) => ({ target, value: discover }))));
    if (isList(call.method)) {
      const visible = judge?.lister(call.method, this.#hidden(call.method));
      return this.#answer(asked, startedAt, await this.#multiplexer.list(members, call, { handles, visible }));
    }
    if (call.method === LISTEN) return this.#listen(members, { call, judge }, asked);
    const { member, call: routed } = await this.#multiplexer.destination(members, handles.opened(call));
    return this.#admitted({ upstream: member.upstream, judge, call: routed, asked: call }, asked, startedAt);
  }

  /** The target does not hear of a call that its caller may not make. */
  async #admitted({ upstream, judge, call, asked: inClientsWords }: Admitting, asked: ModernAsked, startedAt: number): Promise<void> {
    const { target } = upstream;
    if (judge !== undefined && call.method === LISTEN) return this.#attempt(upstream, judge.listening(target, call), asked, startedAt);
    const ruled = judge === undefined ? call : judge.admit(target, call, inClientsWords);
    if (!(ruled instanceof UpstreamCall)) return this.#deny(asked, target, ruled);
    const guard = this.#pins.guards?.get(target);
    if (guard === undefined) return this.#attempt(upstream, ruled, asked, startedAt);
    await guard.before(upstream, ruled);
    const trusted = guard.admit(ruled, inClientsWords);
    if (trusted instanceof UpstreamCall) return this.#attempt(upstream, trusted, asked, startedAt);
    this.#deny(asked, target, { denial: UNTRUSTED, fault: trusted });
  }

  #deny({ meta: { principal, route, method, name }, traceparent, span, answer }: ModernAsked, target: string, { denial, fault }: { readonly denial: Denied; readonly fault: Fault }): void {
    this.#events.callDenied({ route, principal, target, method, name, traceparent, span }, denial);
    answer.fail(fault);
  }

  #hidden(method: string): (count: number) => void {
    return (count) => this.#events.itemsHidden(method, count);
  }

  /** Nothing is known of earlier attempts: a tool that may have run is run again only where it says that this does no harm. */
  async #attempt(upstream: Upstream, call: UpstreamCall, asked: ModernAsked, startedAt: number): Promise<void> {
    const { again, principal, route, name } = asked.meta;
    if (again !== undefined) {
      const hints = this.#targets.get(upstream.target)?.hints;
      if (call.method === 'tools/call' && (await hints?.repeatable(call.name)) !== true) throw lostFault();
      this.#events.callRetried({ route, principal, target: upstream.target, method: call.method, name, traceparent: asked.traceparent, span: asked.span });
    }
    this.#send(upstream, call, asked, startedAt);
  }

  /** The targets that speak this era; one that cannot be reached counts as absent or as a failure, as the backend says. */
  async #members({ caller, method }: UpstreamCall): Promise<Map<string, Member & { readonly discover: Record<string, unknown> }>> {
    const members = new Map<string, Member & { readonly discover: Record<string, unknown> }>();
    const asked = [...this.#targets.values()].map(async (target) => ({ target, discover: await target.discover(caller, method === 'server/discover') }));
    for (const one of await Promise.allSettled(asked)) {
      if (one.status === 'rejected') {
        if (this.#backend.failureMode === 'failClosed') throw one.reason;
        continue;
      }
      const { target, discover } = one.value;
      if (discover === undefined) continue;
      const capabilities = (discover['capabilities'] ?? {}) as Record<string, unknown>;
      members.set(target.config.name, { upstream: target.modern, capabilities, timeoutMs: target.config.timeoutMs, discover });
    }
    return members;
  }

  #send(upstream: Upstream, call: UpstreamCall, asked: ModernAsked, startedAt: number): void {
    const timeoutMs = this.#targets.get(upstream.target)?.config.timeoutMs;
    const news = call.method === LISTEN ? new ListNews(call.id, (bytes) => void asked.answer.data(bytes)) : undefined;
    const stop = requestWithin(upstream, call, this.#receiver(upstream.target, asked, startedAt, news), timeoutMs);
    asked.answer.onCancel(stop);
    if (news !== undefined) this.#watchListen(asked, { stop, news });
  }

  #watchListen({ answer, meta }: ModernAsked, { stop, news }: { readonly stop: () => void; readonly news: ListNews }): void {
    const listen: OpenListen = {
      tellLists: (only) => news.tell(only),
      end: () => {
        stop();
        answer.end(listenEnded(JSON.parse(meta.id ?? 'null') as Id));
      },
    };
    this.#listens.add(listen);
    answer.whenClosed(() => this.#listens.delete(listen));
  }

  #listen(members: ReadonlyMap<string, Member>, { call, judge }: Pick<Admitting, 'call' | 'judge'>, asked: ModernAsked): void {
    const listen = new Listen({ call, asked, judge, naming: this.#naming, onListChanged: (target, method) => this.#listChanged(target, method) });
    listen.open(members);
    this.#watchListen(asked, { stop: () => listen.stop(), news: listen.news });
  }

  #listChanged(target: string, method: string): void {
    this.#multiplexer.forgetOwners();
    if (isToolList(method)) this.#pins.guards?.get(target)?.doubt();
  }

  #receiver(target: string, asked: ModernAsked, startedAt: number, news: ListNews | undefined): UpstreamReceiver {
    const { answer, meta: { method = '', facts } } = asked;
    const handles = this.#handles(asked.meta);
    const ruled = keyOfItems(method) === undefined ? undefined : this.#judge(facts)?.cut(method, target, this.#hidden(method));
    const guard = this.#pins.guards?.get(target);
    const cut = guard !== undefined && method === TOOL_LIST ? guard.cut(ruled, this.#hidden(method)) : ruled;
    return {
      message: (message, bytes) => {
        if (guard !== undefined && isToolList(message.method)) guard.doubt();
        const out = this.#naming.shared ? encode(rewriteFromTarget(message, target, this.#naming)) : bytes;
        const taken = answer.data(out);
        if (message.method === ACKNOWLEDGED) news?.acknowledged((message.params?.['notifications'] ?? {}) as Filter);
        return taken ? undefined : answer.drained();
      },
      suspended: () => undefined,
      end: (bytes, response, streamed) => {
        const out = answerForClient({ target, response, bytes, place: asked.meta, cut }, this.#naming, handles);
        answer.end(out, streamed ? { stream: 'sse' } : undefined);
        this.#ended(asked, target, response, startedAt);
      },
      fail: (fault) => {
        answer.fail(fault);
        this.#ended(asked, target, fault, startedAt);
      },
    };
  }

  #handles({ principal, route }: CallMeta): Handles {
    return new Handles({ keys: this.#handleKeys, owner: { principal, route }, refused: this.#events.handleRefused });
  }

  #ended({ meta: { method, name, principal, route }, traceparent, span }: ModernAsked, target: string, outcome: Response | Fault, startedAt: number): void {
    this.#events.callEnded({ route, principal, target, method, name, traceparent, span, startedAt }, outcome);
  }

  #answer(asked: ModernAsked, startedAt: number, result: Record<string, unknown>): void {
    const response = { jsonrpc: '2.0', id: JSON.parse(asked.meta.id ?? 'null') as Id, result } as const;
    asked.answer.end(encode(response));
    this.#ended(asked, '-', response, startedAt);
  }
}

const LISTEN = 'subscriptions/listen';

function readCall(asked: ModernAsked): UpstreamCall {
  const { meta, deadline } = asked;
  const { payload, headers } = tracedPayload(asked);
  const mirrored = meta.params === undefined ? {} : (JSON.parse(meta.params) as Record<string, string>);
  return new UpstreamCall({
    id: JSON.parse(meta.id ?? 'null') as Id,
    method: meta.method ?? '',
    name: meta.name,
    payload,
    deadline,
    caller: sealedCaller(meta),
    headers: { ...mirrored, ...headers },
  });
}
