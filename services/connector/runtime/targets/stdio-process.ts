/**
 * A server as a child process, speaking newline-delimited JSON-RPC (MCP "stdio" transport).
 *
 * S1 The child leads its own process group, so that what it started dies with it; nothing of it outlives `close`.
 * S2 Lines on stdout that are no JSON-RPC are counted and skipped: many servers print a greeting.
 * S3 When the child exits, every open request fails at once, and what is left of its group is killed: a grandchild that
 *    holds our pipe open would hide the exit for ever.
 * S4 A line too long to take is answered for when it says whose it is: its caller gets an error instead of silence.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';
import type { McpStdioTarget } from '#protocol/config/generation.ts';
import type { Environment } from '#host/environment.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Id, type Response, encode } from '#protocol/mcp/message.ts';
import { type FromUpstream, readMessage } from './responses.ts';
import { MESSAGE_BYTES_MAX } from './upstream.ts';

const STDIN_BYTES_MAX = 16 * 1024 * 1024;
const STDERR_LINE_CHARS_MAX = 4_096;
/** What is kept of both ends of a line that is too long. */
const EDGE_CHARS_MAX = 4_096;
const STOP_MS = 2_000;

export interface StdioHandlers {
  message(from: FromUpstream, bytes: Uint8Array): void;
  /** A line of stderr, cut to STDERR_LINE_CHARS_MAX. */
  stderr(line: string): void;
  garbage(): void;
  exited(fault: Fault): void;
}

export class StdioProcess {
  readonly #child: ChildProcess;
  readonly #target: string;
  readonly #handlers: StdioHandlers;
  #exit: Fault | undefined;
  readonly exited: Promise<void>;

  /** `inherited` is what a child gets beside its own `env`, unless `clear_env` says nothing. */
  constructor(target: McpStdioTarget, inherited: Environment, handlers: StdioHandlers) {
    this.#target = target.name;
    this.#handlers = handlers;
    const env = target.clearEnv ? { ...target.env } : { ...inherited, ...target.env };
    this.#child = spawn(target.cmd, [...target.args], { env, stdio: ['pipe', 'pipe', 'pipe'], detached: process.platform !== 'win32' });
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(this.#gone(`cannot be started: ${error.message}`, 'not-started')));
      this.#child.once('exit', () => this.#signal('SIGKILL'));
      this.#child.once('close', (code, signal) => resolve(this.#gone(`exited with ${signal ?? `code ${code}`}`)));
    });
    this.#child.stdin?.on('error', () => undefined);
    this.#readLines(this.#child.stdout, MESSAGE_BYTES_MAX, (line) => this.#onLine(line), (head, tail) => this.#onLongLine(head, tail));
    this.#readLines(this.#child.stderr, STDERR_LINE_CHARS_MAX, (line) => handlers.stderr(line), (head) => handlers.stderr(head));
  }

  get alive(): boolean {
    return this.#exit === undefined;
  }

  /** @throws Fault when the process is gone or does not read what it is sent. */
  write(payload: Uint8Array): void {
    if (this.#exit) throw this.#exit;
    const { stdin } = this.#child;
    if (stdin === null || stdin.writableLength > STDIN_BYTES_MAX) throw new Fault('overloaded', `${this.#target} does not read its input`, { target: this.#target });
    stdin.write(oneLine(payload));
    stdin.write('\n');
  }

  /** Stdin closed, then SIGTERM, then SIGKILL, each to the whole group (MCP "stdio", shutdown). */
  async close(): Promise<void> {
    if (this.#exit) return;
    this.#child.stdin?.end();
    const terminate = setTimeout(() => this.#signal('SIGTERM'), STOP_MS / 4);
    const kill = setTimeout(() => this.#signal('SIGKILL'), STOP_MS);
    await this.exited;
    clearTimeout(terminate);
    clearTimeout(kill);
    this.#signal('SIGKILL');
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(process.platform === 'win32' ? pid : -pid, signal);
    } catch {
      // The group is empty already.
    }
  }

  #onLine(line: string): void {
    if (line.trim() === '') return;
    const bytes = Buffer.from(line, 'utf8');
    let from: FromUpstream;
    try {
      from = readMessage(bytes, this.#target);
    } catch {
      this.#handlers.garbage();
      return;
    }
    this.#handlers.message(from, bytes);
  }

  #onLongLine(head: string, tail: string): void {
    const id = ID_FIRST.exec(head)?.[1] ?? ID_LAST.exec(tail)?.[1];
    if (id === undefined) return this.#handlers.garbage();
    const error = { code: CODE.internal, message: `${this.#target} answered with more than ${MESSAGE_BYTES_MAX} bytes` };
    const message: Response = { jsonrpc: '2.0', id: JSON.parse(id) as Id, error };
    this.#handlers.message({ kind: 'response', message }, encode(message));
  }

  #readLines(stream: NodeJS.ReadableStream | null, max: number, onLine: (line: string) => void, onLong: (head: string, tail: string) => void): void {
    const decoder = new StringDecoder('utf8');
    let held = '';
    let head: string | undefined;
    stream?.on('data', (chunk: Buffer) => {
      const lines = (held + decoder.write(chunk)).split('\n');
      held = lines.pop() ?? '';
      for (const line of lines) {
        if (head === undefined && line.length <= max) onLine(line);
        else onLong(head ?? line.slice(0, EDGE_CHARS_MAX), line.slice(-EDGE_CHARS_MAX));
        head = undefined;
      }
      if (head === undefined && held.length <= max) return;
      head ??= held.slice(0, EDGE_CHARS_MAX);
      held = held.slice(-EDGE_CHARS_MAX);
    });
  }

  #gone(why: string, reason = 'exited'): void {
    if (this.#exit) return;
    this.#exit = new Fault('upstream', `${this.#target} ${why}`, { target: this.#target, reason });
    this.#handlers.exited(this.#exit);
  }
}

const NEWLINE = 0x0a;

/** The id of a response as SDKs write it: before the result, or at the very end. */
const ID_FIRST = /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*,\s*"(?:result|error)"/;
const ID_LAST = /"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/;

/** JSON may be pretty-printed on HTTP; on stdio a newline ends a message. */
function oneLine(payload: Uint8Array): Uint8Array {
  return payload.includes(NEWLINE) ? Buffer.from(JSON.stringify(JSON.parse(Buffer.from(payload).toString('utf8')))) : payload;
}
