/**
 * One session with one stdio server of the legacy era: a child process of its own, as nothing else keeps sessions apart.
 *
 * L1 A message of the server belongs to the call its progress token names, else to the call begun last, else to nobody.
 * L2 A child that died is started and initialized again by the next request, or at once when the client listens; sooner or
 *    later, as its life so far deserves (restarts.ts). What keeps a server from starting at all concerns all its sessions.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { McpStdioTarget } from '#protocol/config/generation.ts';
import type { Environment } from '#host/environment.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Notification, type Request, idKey } from '#protocol/mcp/message.ts';
import { clock } from '#host/clock.ts';
import { readGreeting } from './greeting.ts';
import type { FromUpstream } from './responses.ts';
import { Restarts } from './restarts.ts';
import { StdioProcess } from './stdio-process.ts';
import { type SessionUpstream, type Unsolicited, UpstreamCall, type UpstreamReceiver, ask } from './upstream.ts';

const OPEN_MS = 60_000;

export interface StdioEvents {
  stderr(target: string, line: string): void;
  garbage(target: string): void;
  started(target: string): void;
  exited(target: string, fault: Fault): void;
  /** It exited once too often, and is left alone for a while. */
  crashLoop(target: string): void;
}

export interface LegacyStdioOptions {
  readonly target: McpStdioTarget;
  readonly env: Environment;
  readonly initialize: UpstreamCall;
  readonly unsolicited: Unsolicited;
  readonly events: StdioEvents;
  readonly revived: (upstream: SessionUpstream) => Promise<void>;
  /** Of all children of this target: exits before they were initialized. */
  readonly starts: Restarts;
}

interface Open {
  readonly receiver: UpstreamReceiver;
  readonly progress: string | undefined;
}

export class LegacyStdio implements SessionUpstream {
  readonly target: string;
  readonly session = null;
  version = '';
  capabilities: Readonly<Record<string, unknown>> = {};
  readonly #options: LegacyStdioOptions;
  readonly #open = new Map<string, Open>();
  readonly #restarts: Restarts;
  readonly #closing = new AbortController();
  #process: StdioProcess | undefined;
  #initialized = false;
  #reviving: Promise<void> | undefined;
  #listening = false;

  constructor(options: LegacyStdioOptions) {
    this.target = options.target.name;
    this.#options = options;
    this.#restarts = new Restarts(this.target);
  }

  async open(): Promise<Record<string, unknown>> {
    const { initialize, starts } = this.#options;
    await this.#pause();
    const child = this.#start();
    try {
      const response = await ask(
        { target: this.target, request: (call, receiver) => this.#send(call, receiver) },
        new UpstreamCall({ ...initialize, payload: initialize.payload, deadline: clock() + (this.#options.target.timeoutMs ?? OPEN_MS) }),
      );
      const { result, version, capabilities } = readGreeting(response, this.target);
      this.version = version;
      this.capabilities = capabilities;
      this.#initialized = true;
      starts.recovered();
      return result;
    } catch (error) {
      this.#discard(child);
      throw error;
    }
  }

  /** What a process knew is gone with it. */
  adopt(): boolean {
    return false;
  }

  request(call: UpstreamCall, receiver: UpstreamReceiver): () => void {
    if (this.#process?.alive) return this.#send(call, receiver);
    let stopped = false;
    this.#revive().then(
      () => (stopped ? undefined : void this.#send(call, receiver)),
      (error: Fault) => receiver.fail(error),
    );
    return () => {
      stopped = true;
      this.#open.delete(idKey(call.id));
    };
  }

  async tell(payload: Uint8Array): Promise<void> {
    if (!this.#process?.alive) await this.#revive();
    this.#process?.write(payload);
  }

  /** A pipe is always open; what is said on it after a loss, the client is to hear as well. */
  listen(): void {
    this.#listening = true;
  }

  quiet(): void {
    this.#listening = false;
  }

  /** Nobody else can go on with a process of ours. */
  leave(): Promise<void> {
    return this.close();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#process?.close();
  }

  /** @throws Fault while it is not to be started at all. */
  async #pause(): Promise<void> {
    const ms = Math.max(this.#restarts.pauseMs(), this.#options.starts.pauseMs());
    if (ms > 0) await delay(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  #start(): StdioProcess {
    if (this.#closing.signal.aborted) throw new Fault('gone', `the session with ${this.target} is closed`);
    const { target, env, events, starts } = this.#options;
    this.#initialized = false;
    this.#restarts.started();
    starts.started();
    const child = new StdioProcess(target, env, {
      message: (from, bytes) => this.#onMessage(from, bytes),
      stderr: (line) => events.stderr(target.name, line),
      garbage: () => events.garbage(target.name),
      exited: (fault) => {
        if (this.#process === child) this.#onExit(fault);
      },
    });
    this.#process = child;
    events.started(target.name);
    return child;
  }

  /** One that was not initialized is of no use to the next call. */
  #discard(child: StdioProcess): void {
    if (!child.alive) return;
    if (this.#process === child) this.#process = undefined;
    void child.close();
  }

  #send(call: UpstreamCall, receiver: UpstreamReceiver): () => void {
    const key = idKey(call.id);
    try {
      const token = call.request.params?._meta?.['progressToken'];
      this.#open.set(key, { receiver, progress: token === undefined ? undefined : JSON.stringify(token) });
      this.#process?.write(call.payload);
    } catch (error) {
      this.#open.delete(key);
      receiver.fail(error as Fault);
    }
    return () => this.#open.delete(key);
  }

  #onMessage(from: FromUpstream, bytes: Uint8Array): void {
    if (from.kind !== 'response') return this.#onOwnMessage(from.message, bytes);
    const { id } = from.message;
    if (id === undefined || id === null) return;
    const open = this.#open.get(idKey(id));
    this.#open.delete(idKey(id));
    open?.receiver.end(bytes, from.message, false);
  }

  #onOwnMessage(message: Request | Notification, bytes: Uint8Array): void {
    const call = this.#callOf(message);
    if (call) void call.receiver.message(message, bytes);
    else this.#options.unsolicited(message);
  }

  #callOf(message: Request | Notification): Open | undefined {
    const calls = [...this.#open.values()];
    if (message.method !== 'notifications/progress') return OF_NO_CALL.has(message.method) ? undefined : calls.at(-1);
    const token = JSON.stringify(message.params?.['progressToken']);
    return calls.find((call) => call.progress === token);
  }

  #onExit(fault: Fault): void {
    const open = [...this.#open.values()];
    this.#open.clear();
    if (!this.#closing.signal.aborted) this.#countExit(fault);
    for (const { receiver } of open) receiver.fail(fault);
    if (this.#listening && this.#initialized) void this.#revive().catch(() => undefined);
  }

  #countExit(fault: Fault): void {
    const { events, starts } = this.#options;
    events.exited(this.target, fault);
    const own = this.#restarts.exited();
    const all = !this.#initialized && starts.exited();
    if (own || all) events.crashLoop(this.target);
  }

  #revive(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.reject(new Fault('gone', `the session with ${this.target} is closed`));
    this.#reviving ??= this.open()
      .then(() => this.#options.revived(this))
      .finally(() => (this.#reviving = undefined));
    return this.#reviving;
  }
}

/** Facts about the server, not about a call. */
const OF_NO_CALL: ReadonlySet<string> = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
]);
