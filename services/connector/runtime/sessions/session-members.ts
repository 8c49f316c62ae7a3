/** The upstreams of one legacy session, one per target of its backend: initialized with the client's own words, or taken over as an earlier connector left them. */
import type { McpBackend } from '#protocol/config/generation.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import type { Request } from '#protocol/mcp/message.ts';
import type { OpenedUpstreams, SessionAdoption } from '#protocol/subjects/connector.ts';
import type { FromTarget } from '../../core/merge.ts';
import { onlyModern, speaksOtherEra } from '../../core/version-fault.ts';
import type { Member } from '../calls/multiplexer.ts';
import { type SessionUpstream, UpstreamCall } from '../targets/upstream.ts';

export interface SessionMember extends Member {
  readonly upstream: SessionUpstream;
  /** Another connector had opened it, so it is not ours to end when we fail. */
  readonly adopted: boolean;
}

export interface SessionMembersOptions {
  readonly backend: McpBackend;
  /** The client's, as it came. */
  readonly initialize: Uint8Array;
  readonly request: Request;
  readonly connect: (target: McpBackend['targets'][number], initialize: UpstreamCall) => SessionUpstream;
}

type Greeting = FromTarget<Record<string, unknown>>;

export class SessionMembers {
  readonly #options: SessionMembersOptions;
  readonly #members = new Map<string, SessionMember>();

  constructor(options: SessionMembersOptions) {
    this.#options = options;
  }

  get all(): ReadonlyMap<string, SessionMember> {
    return this.#members;
  }

  get first(): SessionMember | undefined {
    return this.#members.values().next().value;
  }

  upstreams(): SessionUpstream[] {
    return [...this.#members.values()].map(({ upstream }) => upstream);
  }

  /** Those that had to be initialized here. */
  anew(): SessionUpstream[] {
    return [...this.#members.values()].filter(({ adopted }) => !adopted).map(({ upstream }) => upstream);
  }

  targets(): OpenedUpstreams['targets'] {
    return Object.fromEntries([...this.#members].map(([name, { upstream: { session, version, capabilities } }]) => [name, { session, version, capabilities }]));
  }

  /** What each answered to initialize. @throws Fault when a target that must answer does not; fact `rpc` carries the version error when none speaks this era. */
  async open(adoption: SessionAdoption | undefined): Promise<readonly Greeting[]> {
    const { backend, request } = this.#options;
    const settled = await Promise.allSettled(backend.targets.map((target) => this.#open(target, adoption)));
    this.#inOrder();
    const results = settled.filter((one) => one.status === 'fulfilled').map((one) => one.value);
    const failed = settled.filter((one) => one.status === 'rejected').map((one) => one.reason as Fault);
    const broken = failed.filter((fault) => !speaksOtherEra(fault));
    if (results.length === 0 && failed[0]) throw broken[0] ?? onlyModern(request);
    if (broken[0] && backend.failureMode === 'failClosed') {
      await this.#undo();
      throw broken[0];
    }
    return results;
  }

  async #open(target: McpBackend['targets'][number], adoption: SessionAdoption | undefined): Promise<Greeting> {
    const { request, initialize, connect } = this.#options;
    const upstream = connect(target, new UpstreamCall({ id: request.id, method: request.method, payload: initialize, deadline: 0, request }));
    const earlier = adoption?.targets[target.name];
    const adopted = earlier !== undefined && upstream.adopt(earlier);
    try {
      const value = adopted ? { protocolVersion: upstream.version, capabilities: upstream.capabilities } : await upstream.open();
      this.#members.set(target.name, {
        upstream,
        adopted,
        timeoutMs: target.timeoutMs,
        get capabilities() {
          return upstream.capabilities;
        },
      });
      return { target: target.name, value };
    } catch (error) {
      await upstream.close();
      throw error;
    }
  }

  /** Lists follow the configuration, whichever target was opened first. */
  #inOrder(): void {
    const members = this.#options.backend.targets.flatMap(({ name }) => [...this.#members].filter(([target]) => target === name));
    this.#members.clear();
    for (const [name, member] of members) this.#members.set(name, member);
  }

  /** What was adopted, others can still go on with. */
  async #undo(): Promise<void> {
    await Promise.allSettled([...this.#members.values()].map(({ upstream, adopted }) => (adopted ? upstream.leave() : upstream.close())));
  }
}
