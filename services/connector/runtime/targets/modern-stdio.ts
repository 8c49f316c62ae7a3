/**
 * One stdio server of the modern era: one child for all clients, as it keeps no sessions.
 *
 * M1 Ids and progress tokens of many clients meet in one pipe, so both are ours on the way in and the client's on the way out.
 * M2 A log message names no request; it is passed on only while a single call is open, lest one client read another's.
 * M3 A child that died is started again by the next call, sooner or later as its life so far deserves (restarts.ts).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { McpStdioTarget } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Id, type Notification, type Params, type Request, encode, idKey } from '#protocol/mcp/message.ts';
import { META_SUBSCRIPTION } from '#protocol/mcp/modern.ts';
import type { Environment } from '#host/environment.ts';
import type { StdioEvents } from './legacy-stdio.ts';
import type { FromUpstream } from './responses.ts';
import { Restarts } from './restarts.ts';
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
  readonly #restarts: Restarts;
  readonly #closing = new AbortController();
  #process: StdioProcess | undefined;
  #starting: Promise<StdioProcess> | undefined;
  #next = 0;

  constructor(config: McpStdioTarget, env: Environment, events: StdioEvents) {
    this.#env = env;
    this.target = config.name;
    this.#config = config;
    this.#events = events;
    this.#restarts = new Restarts(config.name);
  }

  request(call: UpstreamCall, receiver: UpstreamReceiver): () => void {
    const id = this.#next++;
    const { params = {} } = call.request;
    const progress = params._meta?.['progressToken'];
    const meta = progress === undefined ? params._meta : { ...params._meta, progressToken: id };
    this.#open.set(idKey(id), { id: call.id, progress, receiver });
    const payload = encode({ ...call.request, id, params: { ...params, _meta: meta } });
    if (this.#process?.alive) this.#write(id, payload, this.#process);
    else {
      this.#running().then(
        (child) => this.#write(id, payload, child),
        (error: Fault) => this.#fail(id, error),
      );
    }
    return () => this.#cancel(id);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#process?.close();
  }

  #write(id: number, payload: Uint8Array, child: StdioProcess): void {
    if (!this.#open.has(idKey(id))) return;
    try {
      child.write(payload);
    } catch (error) {
      this.#fail(id, error as Fault);
    }
  }

  #fail(id: number, fault: Fault): void {
    const open = this.#open.get(idKey(id));
    this.#open.delete(idKey(id));
    open?.receiver.fail(fault);
  }

  #running(): Promise<StdioProcess> {
    this.#starting ??= this.#start().finally(() => (this.#starting = undefined));
    return this.#starting;
  }

  async #start(): Promise<StdioProcess> {
    const ms = this.#restarts.pauseMs();
    if (ms > 0) await delay(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    if (this.#closing.signal.aborted) throw new Fault('gone', `${this.target} is closed`);
    this.#restarts.started();
    this.#process = new StdioProcess(this.#config, this.#env, {
      message: (from) => this.#onMessage(from),
      stderr: (line) => this.#events.stderr(this.target, line),
      garbage: () => this.#events.garbage(this.target),
      exited: (fault) => this.#onExit(fault),
    });
    this.#events.started(this.target);
    return this.#process;
  }

  #onExit(fault: Fault): void {
    const open = [...this.#open.values()];
    this.#open.clear();
    if (!this.#closing.signal.aborted) {
      this.#events.exited(this.target, fault);
      if (this.#restarts.exited()) this.#events.crashLoop(this.target);
    }
    for (const { receiver } of open) receiver.fail(fault);
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
