/** One MCP backend of the generation in force, with its targets. A backend that left the configuration lives on until its last session and its last call are gone. */
import type { McpBackend } from '#protocol/config/generation.ts';
import type { CallerSeal } from '#host/caller-seal.ts';
import type { Environment } from '#host/environment.ts';
import type { Svids } from '#host/spiffe/svids.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import type { HandleKeys } from '../core/handle-seal.ts';
import type { CallRules } from './calls/call-rules.ts';
import { type HandleFacts, Handles } from './calls/handles.ts';
import type { SealedCaller } from './targets/http-endpoint.ts';
import { ModernBackend, type ModernEvents } from './calls/modern-backend.ts';
import type { PinSlot } from './pins/pin-guard.ts';
import type { Judging } from './sessions/session-rules.ts';
import type { SessionUpstreams } from './sessions/session-upstreams.ts';
import { type StdioSurroundings, Target } from './targets/target.ts';
import type { ToolsPage } from './targets/tool-list.ts';
import { type SessionUpstream, UpstreamCall } from './targets/upstream.ts';

export interface BackendSurroundings extends StdioSurroundings {
  readonly seal: CallerSeal;
  readonly ownEnv: Environment;
  readonly learn: Learn;
  readonly svids?: Svids | undefined;
}

export interface BackendOptions {
  readonly config: McpBackend;
  readonly surroundings: BackendSurroundings;
  readonly events: ModernEvents;
  readonly rules: CallRules;
  readonly pins: PinSlot;
  /** What handles of clients are sealed with, beside who they are. */
  readonly handleKeys: HandleKeys;
}

export class Backend {
  readonly config: McpBackend;
  readonly targets: ReadonlyMap<string, Target>;
  readonly modern: ModernBackend;
  /** What a legacy client holds. */
  readonly handles: (owner: HandleFacts) => Handles;
  /** Who judges a call, by the rules in force. */
  readonly judge: Judging;
  /** Whose tools may not change, as the configuration in force has it. */
  readonly pins: PinSlot;
  #users = 0;
  #retired = false;

  constructor({ config, surroundings: { seal, ...stdio }, events, rules, pins, handleKeys }: BackendOptions) {
    this.config = config;
    this.pins = pins;
    this.judge = (facts) => rules.judge(config.key, facts);
    const looked = (target: string, page: ToolsPage) => pins.guards?.get(target)?.look(page);
    const surroundings = { ...stdio, looked, open: ({ sealed, route }: SealedCaller) => seal.open(sealed, config.key, route) };
    this.targets = new Map(config.targets.map((target) => [target.name, new Target(config.key, target, surroundings)]));
    this.modern = new ModernBackend({ backend: config, targets: this.targets, events, judge: this.judge, pins, handleKeys });
    this.handles = (owner) => new Handles({ keys: handleKeys, owner, refused: events.handleRefused });
  }

  /** How a session reaches one of the targets. @param caller who opens it. */
  readonly connectFor = (caller: SealedCaller | undefined) => (target: McpBackend['targets'][number], initialize: UpstreamCall, owner: SessionUpstreams): SessionUpstream => {
    const upstream: SessionUpstream = (this.targets.get(target.name) as Target).session(
      caller === undefined ? initialize : new UpstreamCall({ ...initialize, request: initialize.request, caller }),
      (message) => owner.unsolicited(upstream, message),
      (revived) => owner.revived(revived),
    );
    return upstream;
  };

  /** A session, or a call of none. */
  enter(): void {
    this.#users += 1;
  }

  leave(): void {
    this.#users -= 1;
    this.#closeIfDone();
  }

  retire(): void {
    this.#retired = true;
    this.modern.endListens();
    this.#closeIfDone();
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.targets.values()].map((target) => target.close()));
  }

  #closeIfDone(): void {
    if (this.#retired && this.#users === 0) void this.close();
  }
}
