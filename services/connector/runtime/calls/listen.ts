/**
 * One `subscriptions/listen` of a client over several targets (MCP 2026-07-28 "Subscriptions").
 *
 * Every target gets the request under the client's own id, so what it sends is stamped right already. The client gets one
 * acknowledgement, first, once each target has acknowledged or failed; the stream ends when the last target's did.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { type Id, type Notification, type Request, encode } from '#protocol/mcp/message.ts';
import { META_SUBSCRIPTION } from '#protocol/mcp/modern.ts';
import type { Naming } from '#protocol/mcp/naming.ts';
import { type List, isListChanged } from '../../core/news.ts';
import { rewriteFromTarget } from '../../core/rewrite.ts';
import type { CallJudge } from './call-rules.ts';
import type { ModernAsked } from './modern-backend.ts';
import type { Member } from './multiplexer.ts';
import { UpstreamCall } from '../targets/upstream.ts';

export type Filter = Record<string, unknown>;

export const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

export interface ListenOptions {
  readonly call: UpstreamCall;
  readonly asked: ModernAsked;
  readonly naming: Naming;
  readonly judge: CallJudge | undefined;
  readonly onListChanged: (target: string, method: string) => void;
}

const LISTS: Readonly<Record<string, string>> = { toolsListChanged: 'tools', promptsListChanged: 'prompts', resourcesListChanged: 'resources' };

/** What one listening client is told of by ourselves: that its lists may be others. Nothing before the acknowledgement. */
export class ListNews {
  readonly #id: Id;
  readonly #say: (payload: Uint8Array) => void;
  #honoured: Filter | undefined;
  #due = false;

  constructor(id: Id, say: (payload: Uint8Array) => void) {
    this.#id = id;
    this.#say = say;
  }

  acknowledged(honoured: Filter): void {
    this.#honoured = honoured;
    if (this.#due) this.tell();
  }

  /** @param only one of the lists, where it is that one alone. */
  tell(only?: List): void {
    this.#due = this.#honoured === undefined;
    for (const [asked, list] of Object.entries(LISTS)) {
      if (only !== undefined && only !== list) continue;
      if (this.#honoured?.[asked] === true) this.#say(encode({ jsonrpc: '2.0', method: `notifications/${list}/list_changed`, params: { _meta: { [META_SUBSCRIPTION]: this.#id } } }));
    }
  }
}

export class Listen {
  readonly #options: ListenOptions;
  readonly news: ListNews;
  readonly #stops: (() => void)[] = [];
  readonly #held: Uint8Array[] = [];
  readonly #honoured: Filter[] = [];
  #waiting = 0;
  #open = 0;
  #failed: Fault | undefined;

  constructor(options: ListenOptions) {
    this.#options = options;
    this.news = new ListNews(options.call.id, (payload) => void options.asked.answer.data(payload));
  }

  open(members: ReadonlyMap<string, Member>): void {
    const asked = [...members].map(([target, member]) => [target, member, this.#filterFor(target)] as const);
    const wanted = asked.filter(([, , filter]) => Object.keys(filter).length > 0);
    this.#waiting = wanted.length;
    this.#open = wanted.length;
    if (wanted.length === 0) this.#acknowledge();
    for (const [target, member, filter] of wanted) this.#stops.push(this.#listen(target, member, filter));
    this.#options.asked.answer.onCancel(() => this.stop());
  }

  /** At every target; the client is not told. */
  stop(): void {
    for (const stop of this.#stops) stop();
  }

  #listen(target: string, member: Member, filter: Filter): () => void {
    const { call, naming, asked } = this.#options;
    const request: Request = { ...call.request, params: { ...call.request.params, notifications: filter } };
    let acknowledged = false;
    const acknowledge = (): void => {
      if (acknowledged) return;
      acknowledged = true;
      if (--this.#waiting === 0) this.#acknowledge();
    };
    return member.upstream.request(new UpstreamCall({ ...call, payload: encode(request), request }), {
      message: (message) => {
        if (message.method === ACKNOWLEDGED) {
          this.#honoured.push(this.#named(target, (message.params?.['notifications'] ?? {}) as Filter));
          return acknowledge();
        }
        if (isListChanged(message.method)) this.#options.onListChanged(target, message.method);
        return this.#pass(encode(rewriteFromTarget(message, target, naming)));
      },
      suspended: () => undefined,
      end: (_bytes, response) => {
        if (response.error) this.#failed ??= new Fault('upstream', `${target}: ${response.error.message}`, { target, rpc: String(response.error.code) });
        acknowledge();
        this.#ended();
      },
      fail: (fault) => {
        this.#failed ??= fault;
        acknowledge();
        if (asked.answer.open) this.#ended();
      },
    });
  }

  /** Nothing goes out before the acknowledgement. */
  #pass(payload: Uint8Array): void | Promise<void> {
    if (this.#waiting > 0) return void this.#held.push(payload);
    const { answer } = this.#options.asked;
    return answer.data(payload) ? undefined : answer.drained();
  }

  #acknowledge(): void {
    const { asked } = this.#options;
    if (this.#honoured.length === 0 && this.#failed) return;
    const honoured = mergeFilters(this.#honoured);
    const params = { notifications: honoured, _meta: this.#stamp() };
    const acknowledgement: Notification = { jsonrpc: '2.0', method: ACKNOWLEDGED, params };
    asked.answer.data(encode(acknowledgement));
    for (const payload of this.#held.splice(0)) asked.answer.data(payload);
    this.news.acknowledged(honoured);
  }

  #ended(): void {
    if (--this.#open > 0) return;
    const { call, asked } = this.#options;
    if (this.#honoured.length === 0 && this.#failed) return asked.answer.fail(this.#failed);
    asked.answer.end(listenEnded(call.id));
  }

  #stamp(): Record<string, unknown> {
    return { [META_SUBSCRIPTION]: this.#options.call.id };
  }

  /** What of it the client may hear. */
  #filterFor(target: string): Filter {
    const filter = this.#ownFilter(target);
    return this.#options.judge?.hearable(target, filter) ?? filter;
  }

  /** The client's filter with only this target's resources, under the target's own URIs. */
  #ownFilter(target: string): Filter {
    const filter = (this.#options.call.request.params?.['notifications'] ?? {}) as Filter;
    const { resourceSubscriptions, ...rest } = filter;
    if (!Array.isArray(resourceSubscriptions)) return rest;
    const own = resourceSubscriptions.map((uri) => this.#options.naming.splitUri(String(uri))).filter((named) => named?.target === target);
    return own.length === 0 ? rest : { ...rest, resourceSubscriptions: own.map((named) => named?.name) };
  }

  #named(target: string, filter: Filter): Filter {
    const uris = filter['resourceSubscriptions'];
    return Array.isArray(uris) ? { ...filter, resourceSubscriptions: uris.map((uri) => this.#options.naming.uri(target, String(uri))) } : filter;
  }
}

/** The last message of a listen stream that ends in peace. */
export const listenEnded = (id: Id): Uint8Array => encode({ jsonrpc: '2.0', id, result: { resultType: 'complete', _meta: { [META_SUBSCRIPTION]: id } } });

function mergeFilters(filters: readonly Filter[]): Filter {
  const merged: Filter = {};
  for (const filter of filters) {
    for (const [key, value] of Object.entries(filter)) {
      const earlier = merged[key];
      merged[key] = Array.isArray(value) && Array.isArray(earlier) ? [...earlier, ...value] : earlier || value;
    }
  }
  return merged;
}
