/** A small MCP client for load: one connection's worth of tools/call, in either era, each answer checked. */
import { Pool } from 'undici';
import { echoed, LEGACY, MODERN } from './echo.ts';

export type Era = 'legacy' | 'modern';

const CALL_MS = 30_000;
const CLIENT = { name: 'parley-bench', version: '1.0.0' };
const ENVELOPE = {
  'io.modelcontextprotocol/protocolVersion': MODERN,
  'io.modelcontextprotocol/clientCapabilities': {},
  'io.modelcontextprotocol/clientInfo': CLIENT,
};
const MODERN_CALL = { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/call', 'mcp-name': 'echo' };

interface Reply {
  readonly id?: unknown;
  readonly result?: { readonly content?: readonly { readonly text?: string }[] };
  readonly error?: { readonly message?: string };
}

export const openPool = (url: string, connections: number): Pool =>
  new Pool(new URL(url).origin, { connections, pipelining: 1, headersTimeout: CALL_MS, bodyTimeout: CALL_MS });

export class BenchClient {
  #next = 0;
  readonly #pool: Pool;
  readonly #path: string;
  readonly #era: Era;
  #headers: Record<string, string> = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

  constructor(pool: Pool, url: string, era: Era, headers: Readonly<Record<string, string>> = {}) {
    this.#pool = pool;
    this.#path = new URL(url).pathname;
    this.#era = era;
    this.#headers = { ...this.#headers, ...headers };
  }

  /** Legacy: initialize and initialized. Modern: nothing, every call stands alone. */
  async open(): Promise<void> {
    if (this.#era === 'modern') {
      this.#headers = { ...this.#headers, ...MODERN_CALL };
      return;
    }
    const params = { protocolVersion: LEGACY, capabilities: {}, clientInfo: CLIENT };
    const { status, session, text } = await this.#post({ jsonrpc: '2.0', id: 'open', method: 'initialize', params });
    if (status !== 200 || !text.includes('"protocolVersion"')) throw new Error(`initialize answered ${status}: ${text.slice(0, 200)}`);
    if (session !== undefined) this.#headers['mcp-session-id'] = session;
    this.#headers['mcp-protocol-version'] = LEGACY;
    const ready = await this.#post({ jsonrpc: '2.0', method: 'notifications/initialized' });
    if (ready.status >= 300) throw new Error(`initialized answered ${ready.status}: ${ready.text.slice(0, 200)}`);
  }

  /** @throws Error when the answer is not the echo of exactly this call. */
  async call(): Promise<void> {
    const id = (this.#next += 1);
    const message = `call ${id}`;
    const params = { name: 'echo', arguments: { message }, ...(this.#era === 'modern' ? { _meta: ENVELOPE } : {}) };
    const { status, type, text } = await this.#post({ jsonrpc: '2.0', id, method: 'tools/call', params });
    if (status !== 200) throw new Error(`tools/call answered ${status}: ${text.slice(0, 200)}`);
    const reply = type.startsWith('text/event-stream') ? fromEvents(text, id) : (JSON.parse(text) as Reply);
    if (reply?.id !== id || reply.result?.content?.[0]?.text !== echoed(message)) throw new Error(`wrong answer to call ${id}: ${text.slice(0, 200)}`);
  }

  async close(): Promise<void> {
    if (this.#headers['mcp-session-id'] === undefined) return;
    const { body } = await this.#pool.request({ path: this.#path, method: 'DELETE', headers: this.#headers });
    await body.dump();
  }

  async #post(message: object): Promise<{ status: number; type: string; session: string | undefined; text: string }> {
    const { statusCode, headers, body } = await this.#pool.request({ path: this.#path, method: 'POST', headers: this.#headers, body: JSON.stringify(message) });
    const session = headers['mcp-session-id'];
    return {
      status: statusCode,
      type: String(headers['content-type']),
      session: typeof session === 'string' ? session : undefined,
      text: await body.text(),
    };
  }
}

function fromEvents(text: string, id: number): Reply | undefined {
  for (const line of text.split('\n')) {
    if (!line.startsWith('data:') || line.trim() === 'data:') continue;
    const reply = JSON.parse(line.slice('data:'.length)) as Reply;
    if (reply.id === id) return reply;
  }
  return undefined;
}
