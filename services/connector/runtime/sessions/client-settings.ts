/** What the client of one session has set at its upstreams, in the words each of them understood: said again to one that knows nothing of it. */
import { type Request, encode, parseJson } from '#protocol/mcp/message.ts';
import type { Named } from '#protocol/mcp/naming.ts';
import type { SessionAdoption } from '#protocol/subjects/connector.ts';
import { clock } from '#host/clock.ts';
import { type SessionUpstream, UpstreamCall, ask } from '../targets/upstream.ts';

const SAY_MS = 15_000;

const INITIALIZED = encode({ jsonrpc: '2.0', method: 'notifications/initialized' });

export class ClientSettings {
  initialized = false;
  #level: Uint8Array | undefined;
  readonly #subscriptions = new Map<string, { readonly target: string; readonly payload: Uint8Array }>();

  /** A call on its way to a target. */
  remember(call: UpstreamCall, target: string): void {
    if (call.method === 'logging/setLevel') this.#level = call.payload;
    else if (call.method === 'resources/subscribe') this.#subscriptions.set(keyOf(call, target), { target, payload: call.payload });
    else if (call.method === 'resources/unsubscribe') this.#subscriptions.delete(keyOf(call, target));
  }

  /** As an earlier connector had it. `find` leads a URI of the client to its target. */
  adopt({ initialized, logLevel, subscriptions }: SessionAdoption, find: (uri: string) => Named | undefined): void {
    this.initialized = initialized;
    if (logLevel !== null) this.#level = ownRequest('logging/setLevel', { level: logLevel });
    for (const subscribed of subscriptions) {
      const named = find(subscribed);
      if (named === undefined) continue;
      const { target, name: uri } = named;
      this.#subscriptions.set(`${target} ${uri}`, { target, payload: ownRequest('resources/subscribe', { uri }) });
    }
  }

  /** To an upstream that was just initialized. What it refuses now it would have refused the client. */
  async sayTo(upstream: SessionUpstream): Promise<void> {
    if (!this.initialized) return;
    await this.sayInitialized(upstream);
    if (this.#level !== undefined && 'logging' in upstream.capabilities) await ask(upstream, ownCall(this.#level)).catch(() => undefined);
    for (const { target, payload } of this.#subscriptions.values()) {
      if (target === upstream.target) await ask(upstream, ownCall(payload)).catch(() => undefined);
    }
  }

  async sayInitialized(upstream: SessionUpstream): Promise<void> {
    this.initialized = true;
    await upstream.tell(INITIALIZED);
  }
}

const keyOf = (call: UpstreamCall, target: string): string => `${target} ${String(call.request.params?.['uri'])}`;

const ownRequest = (method: string, params: Record<string, unknown>): Uint8Array => encode({ jsonrpc: '2.0', id: 0, method, params });

/** The same words under an id that is no client's. */
function ownCall(payload: Uint8Array): UpstreamCall {
  const request = { ...(parseJson(payload) as Request), id: `parley-${crypto.randomUUID()}` };
  return new UpstreamCall({ id: request.id, method: request.method, payload: encode(request), request, deadline: clock() + SAY_MS });
}
