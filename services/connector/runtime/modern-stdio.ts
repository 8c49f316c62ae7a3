/**
 * One stdio server of the modern era: one child for all clients, as it keeps no sessions.
 *
 * M1 Ids and progress tokens of many clients meet in one pipe, so both are ours on the way in and the client's on the way out.
 * M2 A log message names no request; it is passed on only while a single call is open, lest one client read another's.
 */
import type { McpStdioTarget } from '#protocol/config/generation.ts';
import { type Id, type Notification, type Params, type Request, encode, idKey } from '#protocol/mcp/message.ts';
import { META_SUBSCRIPTION } from '#protocol/mcp/modern.ts';
import type { Environment } from '#host/environment.ts';
import type { StdioEvents } from './legacy-stdio.ts';
import type { FromUpstream } from './responses.ts';
import { StdioProcess } from './stdio-process.ts';
import type { Upstream, UpstreamCall, UpstreamReceiver } from './upstream.ts';

interface Open {
  readonly id: Id;
  readonly progress: unknown;
  readonly receiver: UpstreamReceiver;
}

export class ModernStdio implements Upstream {
  readonly target: string;
  readonly #config: McpStdioTarget;
  readonly #env: Environment;
  readonly #events: StdioEvents;
  readonly #open = new Map<string, Open>();
  #process: StdioProcess | undefined;
  #next = 0;
  #closed = false;

  constructor(config: McpStdioTarget, env: Environment, events: StdioEvents) {
    this.#env = env;
    this.target = config.name;
    this.#config = config;
    this.#events = events;
  }

  request(call: UpstreamCall, receiver: UpstreamReceiver): () => void {
    const id = this.#next++;
    const { params = {} } = call.request;
    const progress = params._meta?.['progressToken'];
    const meta = progress === undefined ? params._meta : { ...params._meta, progressToken: id };
    this.#open.set(idKey(id), { id: call.id, progress, receiver });
    try {
      this.#running().write(encode({ ...call.request, id, params: { ...params, _meta: meta } }));
    } catch (error) {
      this.#open.delete(idKey(id));
      receiver.fail(error as never);
    }
    return () => this.#cancel(id);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#process?.close();
  }

  #running(): StdioProcess {
    if (this.#process?.alive) return this.#process;
    this.#process = new StdioProcess(this.#config, this.#env, {
      message: (from) => this.#onMessage(from),
      stderr: (line) => this.#events.stderr(this.target, line),
      garbage: () => this.#events.garbage(this.target),
      exited: (fault) => {
        const open = [...this.#open.values()];
        this.#open.clear();
        for (const { receiver } of open) receiver.fail(fault);
        if (!this.#closed) this.#events.exited(this.target, fault);
      },
    });
    this.#events.started(this.target);
    return this.#process;
  }

  #cancel(id: number): void {
    if (!this.#open.delete(idKey(id)) || !this.#process?.alive) return;
    this.#process.write(encode({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } }));
  }

  #onMessage(from: FromUpstream): void {
    if (from.kind === 'request') return;
    if (from.kind === 'notification') return this.#onNotification(from.message);
    const { id } = from.message;
    const open = id === undefined || id === null ? undefined : this.#open.get(idKey(id));
    if (open === undefined) return;
    this.#open.delete(idKey(id as Id));
    const response = { ...from.message, id: open.id, ...(from.message.result && { result: withSubscription(from.message.result as Params, open.id) }) };
    open.receiver.end(encode(response), response, false);
  }

  #onNotification(message: Notification): void {
    const params = message.params ?? {};
    const subscription = params._meta?.[META_SUBSCRIPTION];
    const open = this.#addressee(message, params, subscription);
    if (open === undefined) return;
    const changed = message.method === 'notifications/progress' ? { ...params, progressToken: open.progress } : withSubscription(params, open.id);
    const out: Notification = { ...message, params: changed as Params };
    void open.receiver.message(out as Request | Notification, encode(out));
  }

  #addressee(message: Notification, params: Params, subscription: unknown): Open | undefined {
    if (message.method === 'notifications/progress') return this.#open.get(JSON.stringify(params['progressToken']));
    if (subscription !== undefined) return this.#open.get(JSON.stringify(subscription));
    return this.#open.size === 1 ? [...this.#open.values()][0] : undefined;
  }
}

/** The subscription id is the JSON-RPC id of the listen request, which the client knows by its own (MCP 2026-07-28 "Subscriptions"). */
function withSubscription(params: Params, id: Id): Params {
  if (params._meta?.[META_SUBSCRIPTION] === undefined) return params;
  return { ...params, _meta: { ...params._meta, [META_SUBSCRIPTION]: id } };
}
