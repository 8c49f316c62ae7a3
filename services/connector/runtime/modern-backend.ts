/** Stateless calls of modern clients: to the one target they name, or to all of them and merged. Nothing is remembered between calls. */
import type { McpBackend } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Id, type Response, encode } from '#protocol/mcp/message.ts';
import { NOTHING, type Asked, type Meta } from '#host/bus/bus.ts';
import type { SpanHandle } from '#host/telemetry/spans.ts';
import { isList } from '../core/lists.ts';
import { mergeDiscover } from '../core/merge.ts';
import { Naming } from '../core/naming.ts';
import { rewriteFromTarget, rewriteResult } from '../core/rewrite.ts';
import { onlyLegacy } from '../core/version-fault.ts';
import { Listen } from './listen.ts';
import { type Member, Multiplexer } from './multiplexer.ts';
import type { Target } from './target.ts';
import { tracedPayload } from './trace.ts';
import { type Upstream, UpstreamCall, type UpstreamReceiver, requestWithin } from './upstream.ts';

export interface CallMeta extends Meta {
  readonly kind: 'request' | 'notification' | 'response';
  readonly method?: string | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly params?: string | undefined;
}

export type ModernAsked = Asked<CallMeta> & { readonly span?: SpanHandle | undefined };
export type Ended = (asked: ModernAsked, target: string, outcome: Response | Fault, startedAt: number) => void;

export class ModernBackend {
  readonly #backend: McpBackend;
  readonly #targets: ReadonlyMap<string, Target>;
  readonly #naming: Naming;
  readonly #multiplexer: Multiplexer;
  readonly #ended: Ended;

  constructor(backend: McpBackend, targets: ReadonlyMap<string, Target>, ended: Ended) {
    this.#backend = backend;
    this.#targets = targets;
    this.#naming = new Naming(backend);
    this.#multiplexer = new Multiplexer(backend, this.#naming);
    this.#ended = ended;
  }

  call(asked: ModernAsked): void {
    const startedAt = performance.now();
    this.#call(asked, startedAt).catch((error: unknown) => {
      const fault = error instanceof Fault ? error : new Fault('bug', 'internal error', {}, { cause: error });
      asked.answer.fail(fault);
      this.#ended(asked, '-', fault, startedAt);
    });
  }

  async #call(asked: ModernAsked, startedAt: number): Promise<void> {
    if (asked.meta.kind !== 'request') return asked.answer.end(NOTHING);
    const call = readCall(asked);
    const [only] = this.#targets.values();
    if (!this.#naming.shared && only) {
      if ((await only.discover()) === undefined) throw onlyLegacy(call.request);
      return this.#send(only.modern, call, asked, startedAt);
    }
    const members = await this.#members();
    if (members.size === 0) throw onlyLegacy(call.request);
    if (call.method === 'server/discover') return this.#answer(asked, startedAt, mergeDiscover([...members].map(([target, { discover }]) => ({ target, value: discover }))));
    if (isList(call.method)) return this.#answer(asked, startedAt, await this.#multiplexer.list(members, call));
    if (call.method === 'subscriptions/listen') return new Listen({ call, asked, naming: this.#naming, onListChanged: () => this.#multiplexer.forgetOwners() }).open(members);
    const { member, call: routed } = await this.#multiplexer.destination(members, call);
    this.#send(member.upstream, routed, asked, startedAt);
  }

  /** The targets that speak this era; one that cannot be reached counts as absent or as a failure, as the backend says. */
  async #members(): Promise<Map<string, Member & { readonly discover: Record<string, unknown> }>> {
    const members = new Map<string, Member & { readonly discover: Record<string, unknown> }>();
    const asked = [...this.#targets.values()].map(async (target) => ({ target, discover: await target.discover() }));
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
    const stop = requestWithin(upstream, call, this.#receiver(upstream.target, asked, startedAt), timeoutMs);
    asked.answer.onCancel(stop);
  }

  #receiver(target: string, asked: ModernAsked, startedAt: number): UpstreamReceiver {
    const { answer } = asked;
    return {
      message: (message, bytes) => {
        const out = this.#naming.shared ? encode(rewriteFromTarget(message, target, this.#naming)) : bytes;
        return answer.data(out) ? undefined : answer.drained();
      },
      suspended: () => undefined,
      end: (bytes, response, streamed) => {
        const out = this.#naming.shared ? encode(rewriteResult(response, target, this.#naming)) : bytes;
        answer.end(out, streamed ? { stream: 'sse' } : undefined);
        this.#ended(asked, target, response, startedAt);
      },
      fail: (fault) => {
        answer.fail(fault);
        this.#ended(asked, target, fault, startedAt);
      },
    };
  }

  #answer(asked: ModernAsked, startedAt: number, result: Record<string, unknown>): void {
    const response = { jsonrpc: '2.0', id: JSON.parse(asked.meta.id ?? 'null') as Id, result } as const;
    asked.answer.end(encode(response));
    this.#ended(asked, '-', response, startedAt);
  }
}

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
    headers: { ...mirrored, ...headers },
  });
}
