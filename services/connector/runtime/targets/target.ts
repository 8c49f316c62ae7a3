/** One configured target: how to reach it, which eras it speaks, and how it is. Era is a property of the server, so it is asked once and remembered for a while. */
import type { McpTarget } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Request, type Response, encode } from '#protocol/mcp/message.ts';
import { META_CAPABILITIES, META_CLIENT_INFO, META_VERSION } from '#protocol/mcp/modern.ts';
import { wrongDiscoverResult } from '#protocol/mcp/shapes.ts';
import { type Era, LATEST_LEGACY, LATEST_MODERN } from '#protocol/mcp/versions.ts';
import type { ConnectorStatus } from '#protocol/subjects/connector.ts';
import { clock } from '#host/clock.ts';
import type { Environment } from '#host/environment.ts';
import type { Svids } from '#host/spiffe/svids.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import { HttpEndpoint, type OpenCaller, type SealedCaller } from './http-endpoint.ts';
import { LegacyHttp } from './legacy-http.ts';
import { LegacyStdio, type StdioEvents } from './legacy-stdio.ts';
import { ModernHttp } from './modern-http.ts';
import { ModernStdio } from './modern-stdio.ts';
import { Restarts } from './restarts.ts';
import { ToolHints } from './tool-hints.ts';
import { type ToolsPage, toolsPageOf } from './tool-list.ts';
import { type SessionUpstream, type Unsolicited, type Upstream, UpstreamCall, ask } from './upstream.ts';

/** A server may be upgraded behind our back: a verdict does not live for ever. */
const VERDICT_MS = 5 * 60_000;
const PROBE_HTTP_MS = 10_000;
const PROBE_STDIO_MS = 10_000;

/** How we introduce ourselves when we speak for nobody but ourselves. */
export const CLIENT_INFO = { name: 'parley', version: '0.1.0' };

interface Verdict {
  readonly at: number;
  /** The discover result; undefined = it does not speak the modern era. */
  readonly discover: Promise<Record<string, unknown> | undefined>;
}

export type TargetStatus = ConnectorStatus['targets'][number];

/** What children need of us, whichever target they are. */
export interface StdioSurroundings {
  readonly env: Environment;
  readonly events: StdioEvents;
}

export interface Surroundings extends StdioSurroundings {
  /** Who calls, for servers that are asked as their caller. */
  readonly open?: OpenCaller | undefined;
  /** What this process itself has, children or not: where credentials of clouds are looked for. */
  readonly ownEnv: Environment;
  /** Told of every secret that is read or had. */
  readonly learn: Learn;
  readonly svids?: Svids | undefined;
  /** Has a look at the tools of this target, as whoever wants to know of them. */
  readonly looked?: (target: string, page: ToolsPage) => Promise<void> | undefined;
}

export class Target {
  readonly config: McpTarget;
  readonly #stdio: StdioSurroundings;
  readonly #endpoint: HttpEndpoint | undefined;
  readonly #modern: Upstream & { close?(): Promise<void> };
  /** Of the children of legacy sessions: what keeps one from starting keeps all. */
  readonly #starts: Restarts;
  readonly #looked: Surroundings['looked'];
  /** As the modern face tells them. */
  readonly hints: ToolHints;
  #verdict: Verdict | undefined;
  status: TargetStatus;

  constructor(backend: string, config: McpTarget, { open, ownEnv, learn, svids, looked, ...stdio }: Surroundings) {
    this.config = config;
    this.#looked = looked;
    this.#stdio = stdio;
    this.#endpoint = config.kind === 'mcp' ? new HttpEndpoint(config, { open, env: ownEnv, learn, svids }) : undefined;
    this.#modern = config.kind === 'mcp' ? new ModernHttp(config.name, this.#endpoint as HttpEndpoint) : new ModernStdio(config, stdio.env, stdio.events);
    this.#starts = new Restarts(config.name);
    this.hints = new ToolHints((cursor) => ask(this.#modern, modernCall('tools/list', this.#probeDeadline(), cursor === undefined ? {} : { cursor })));
    this.status = { backend, target: config.name, kind: config.kind, state: 'starting', eras: [], tools: null };
  }

  /** One session's own connection; nothing is sent before its `open`. */
  session(initialize: UpstreamCall, unsolicited: Unsolicited, revived: (upstream: SessionUpstream) => Promise<void>): SessionUpstream {
    const { config } = this;
    if (config.kind === 'stdio') return new LegacyStdio({ target: config, initialize, unsolicited, ...this.#stdio, revived, starts: this.#starts });
    return new LegacyHttp({ target: config.name, endpoint: this.#endpoint as HttpEndpoint, timeoutMs: config.timeoutMs, initialize, unsolicited, revived });
  }

  get modern(): Upstream {
    return this.#modern;
  }

  /**
   * @param shown it goes to the caller: what a server that is asked as its caller shows one is not for another.
   * @throws Fault when the target cannot be reached: then nothing is known, and nothing remembered.
   */
  discover(caller?: SealedCaller, shown = false): Promise<Record<string, unknown> | undefined> {
    if (shown && this.#endpoint?.ofCaller === true) return this.#probeModern(caller);
    if (this.#verdict === undefined || clock() - this.#verdict.at > VERDICT_MS) {
      const verdict = { at: clock(), discover: this.#probeModern(caller) };
      verdict.discover.catch(() => (this.#verdict = this.#verdict === verdict ? undefined : this.#verdict));
      this.#verdict = verdict;
    }
    return this.#verdict.discover;
  }

  /** Looks the target over as a client of either era would, for the status table. */
  async inspect(): Promise<void> {
    // It shows itself to callers alone.
    if (this.#endpoint?.ofCaller) return void (this.status = { ...this.status, state: 'ready' });
    this.status = { ...this.status, state: 'starting' };
    try {
      const modern = await this.discover();
      const legacy = await this.#probeLegacy().catch((error: unknown) => {
        if (modern === undefined) throw error;
        return undefined;
      });
      const tools = legacy?.tools ?? (modern === undefined ? null : await this.#countModern(modern));
      const eras: Era[] = [...(legacy ? (['legacy'] as const) : []), ...(modern ? (['modern'] as const) : [])];
      const { error: _earlier, ...status } = this.status;
      this.status = { ...status, state: 'ready', eras, tools };
    } catch (error) {
      this.status = { ...this.status, state: 'failed', error: (error as Error).message };
    }
  }

  async close(): Promise<void> {
    await this.#modern.close?.();
    await this.#endpoint?.close();
  }

  async #probeModern(caller: SealedCaller | undefined): Promise<Record<string, unknown> | undefined> {
    const probe = this.config.kind === 'stdio' ? new ModernStdio(this.config, this.#stdio.env, this.#stdio.events) : this.#modern;
    try {
      const response = await ask(probe, modernCall('server/discover', this.#probeDeadline(), {}, caller));
      if (response.result === undefined || wrongDiscoverResult(response.result) !== undefined) return undefined;
      return (response.result['supportedVersions'] as string[]).includes(LATEST_MODERN) ? response.result : undefined;
    } catch (error) {
      if (isSilence(error, this.config.kind)) return undefined;
      throw error;
    } finally {
      if (probe instanceof ModernStdio && probe !== this.#modern) await probe.close();
    }
  }

  async #probeLegacy(): Promise<{ tools: number | null }> {
    const params = { protocolVersion: LATEST_LEGACY, capabilities: {}, clientInfo: CLIENT_INFO };
    const request: Request = { jsonrpc: '2.0', id: 'parley-probe', method: 'initialize', params };
    const call = new UpstreamCall({ id: request.id, method: request.method, payload: encode(request), request, deadline: this.#probeDeadline() });
    const upstream = this.session(call, () => undefined, () => Promise.resolve());
    try {
      const { capabilities = {} } = await upstream.open();
      await upstream.tell(encode({ jsonrpc: '2.0', method: 'notifications/initialized' }));
      if (!('tools' in (capabilities as object))) return { tools: null };
      const list: Request = { jsonrpc: '2.0', id: 'parley-probe-tools', method: 'tools/list', params: {} };
      const asking = new UpstreamCall({ id: list.id, method: list.method, payload: encode(list), request: list, deadline: this.#probeDeadline() });
      const tools = countTools(await ask(upstream, asking));
      await this.#look(upstream, asking);
      return { tools };
    } finally {
      await upstream.close();
    }
  }

  async #countModern(discover: Record<string, unknown>): Promise<number | null> {
    if (!('tools' in ((discover['capabilities'] ?? {}) as object))) return null;
    const asking = modernCall('tools/list', this.#probeDeadline());
    const tools = countTools(await ask(this.#modern, asking));
    await this.#look(this.#modern, asking);
    return tools;
  }

  /** What comes of it is known to whoever looked. */
  async #look(upstream: Upstream, asking: UpstreamCall): Promise<void> {
    await this.#looked?.(this.config.name, toolsPageOf(upstream, asking))?.catch(() => undefined);
  }

  #probeDeadline(): number {
    return clock() + (this.config.timeoutMs ?? (this.config.kind === 'mcp' ? PROBE_HTTP_MS : PROBE_STDIO_MS));
  }
}

const countTools = (response: Response): number | null => {
  const tools = response.result?.['tools'];
  return Array.isArray(tools) ? tools.length : null;
};

function modernCall(method: string, deadline: number, params: object = {}, caller?: SealedCaller): UpstreamCall {
  const _meta = { [META_VERSION]: LATEST_MODERN, [META_CLIENT_INFO]: CLIENT_INFO, [META_CAPABILITIES]: {} };
  const request: Request = { jsonrpc: '2.0', id: `parley-${method}`, method, params: { ...params, _meta } };
  return new UpstreamCall({ id: request.id, method, payload: encode(request), request, deadline, caller });
}

/**
 * What a probe may take for "legacy" (MCP 2026-07-28 "Compatibility"): on HTTP a refusal in the 4xx that is no wall of
 * authorization; on stdio any silence or exit, since servers may stop at a first message that is not initialize.
 */
function isSilence(error: unknown, kind: McpTarget['kind']): boolean {
  if (!(error instanceof Fault)) return false;
  if (kind === 'stdio') return error.code === 'timeout' || error.facts['reason'] === 'exited';
  const status = Number(error.facts['status']);
  return status >= 400 && status < 500 && status !== 401 && status !== 403;
}
