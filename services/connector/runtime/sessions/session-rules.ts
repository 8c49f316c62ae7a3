/** The rules of MCP calls, and the pins of tools, where a legacy session's calls go through: asked anew for each of them. */
import { keyOfItems } from '../../core/list-subjects.ts';
import type { CallJudge } from '../calls/call-rules.ts';
import type { Cut } from '../calls/client-answer.ts';
import type { Visible } from '../calls/multiplexer.ts';
import { type PinSlot, TOOL_LIST, UNTRUSTED } from '../pins/pin-guard.ts';
import type { Relayed, SessionOutlet } from './relayed.ts';
import { type Upstream, UpstreamCall } from '../targets/upstream.ts';

/** Who judges a call of these facts. Undefined: nobody, as there are no rules. @throws Fault when nobody can. */
export type Judging = (facts: string | undefined) => CallJudge | undefined;

export interface SessionRulesOptions {
  readonly judge: Judging;
  readonly pins: PinSlot;
  readonly outlet: SessionOutlet;
}

interface Admitting {
  readonly target: string;
  readonly call: UpstreamCall;
  /** The same in the client's words. */
  readonly asked: UpstreamCall;
}

export class SessionRules {
  readonly #judge: Judging;
  readonly #outlet: SessionOutlet;
  readonly #pins: PinSlot;

  constructor({ judge, outlet, pins }: SessionRulesOptions) {
    this.#judge = judge;
    this.#outlet = outlet;
    this.#pins = pins;
  }

  /** The call as it goes on by the rules. @throws Fault for one that its caller may not make. */
  #admit({ target, call, asked }: Admitting, relayed: Relayed): UpstreamCall {
    const judge = this.#judge(relayed.meta.facts);
    if (judge === undefined) return call;
    const admitted = judge.admit(target, call, asked);
    if (admitted instanceof UpstreamCall) return admitted;
    this.#outlet.denied(relayed, target, admitted.denial);
    throw admitted.fault;
  }

  /** The call as it goes on; a promise only where it is to be found out whether its tool is trusted. @throws Fault for one that its caller may not make. */
  admit(upstream: Upstream, { call, asked }: Omit<Admitting, 'target'>, relayed: Relayed): UpstreamCall | Promise<UpstreamCall> {
    const ruled = this.#admit({ target: upstream.target, call, asked }, relayed);
    const guard = this.#pins.guards?.get(upstream.target);
    if (guard === undefined) return ruled;
    const trusted = (): UpstreamCall => {
      const admitted = guard.admit(ruled, asked);
      if (admitted instanceof UpstreamCall) return admitted;
      this.#outlet.denied(relayed, upstream.target, UNTRUSTED);
      throw admitted;
    };
    const before = guard.before(upstream, ruled);
    return before === undefined ? trusted() : before.then(trusted);
  }

  /** The tools of a target may be others. */
  doubt(target: string): void {
    this.#pins.guards?.get(target)?.doubt();
  }

  /** For a list over several targets; undefined when all of it may be seen. */
  visible(method: string, { meta }: Relayed): Visible | undefined {
    return this.#judge(meta.facts)?.lister(method, (many) => this.#outlet.hidden(method, many));
  }

  /** For the list of one target; undefined when its answer may be seen as it is. */
  cut(method: string, target: string, { meta }: Relayed): Cut | undefined {
    if (keyOfItems(method) === undefined) return undefined;
    const hidden = (many: number): void => this.#outlet.hidden(method, many);
    const ruled = this.#judge(meta.facts)?.cut(method, target, hidden);
    const guard = method === TOOL_LIST ? this.#pins.guards?.get(target) : undefined;
    return guard === undefined ? ruled : guard.cut(ruled, hidden);
  }
}
