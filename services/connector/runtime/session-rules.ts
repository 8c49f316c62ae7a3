/** The rules of MCP calls where a legacy session's calls go through: asked anew for each of them. */
import { keyOfItems } from '../core/list-subjects.ts';
import type { CallJudge } from './call-rules.ts';
import type { Cut } from './client-answer.ts';
import type { Visible } from './multiplexer.ts';
import type { Relayed, SessionOutlet } from './relayed.ts';
import { UpstreamCall } from './upstream.ts';

/** Who judges a call of these facts. Undefined: nobody, as there are no rules. @throws Fault when nobody can. */
export type Judging = (facts: string | undefined) => CallJudge | undefined;

export interface Admitting {
  readonly target: string;
  readonly call: UpstreamCall;
  /** The same in the client's words. */
  readonly asked: UpstreamCall;
}

export class SessionRules {
  readonly #judge: Judging;
  readonly #outlet: SessionOutlet;

  constructor({ judge, outlet }: { readonly judge: Judging; readonly outlet: SessionOutlet }) {
    this.#judge = judge;
    this.#outlet = outlet;
  }

  /** The call as it goes on. @throws Fault for one that its caller may not make. */
  admit({ target, call, asked }: Admitting, relayed: Relayed): UpstreamCall {
    const judge = this.#judge(relayed.meta.facts);
    if (judge === undefined) return call;
    const admitted = judge.admit(target, call, asked);
    if (admitted instanceof UpstreamCall) return admitted;
    this.#outlet.denied(relayed, target, admitted.denial);
    throw admitted.fault;
  }

  /** For a list over several targets; undefined when all of it may be seen. */
  visible(method: string, { meta }: Relayed): Visible | undefined {
    return this.#judge(meta.facts)?.lister(method, (many) => this.#outlet.hidden(method, many));
  }

  /** For the list of one target; undefined when its answer may be seen as it is. */
  cut(method: string, target: string, { meta }: Relayed): Cut | undefined {
    return keyOfItems(method) === undefined ? undefined : this.#judge(meta.facts)?.cut(method, target, (many) => this.#outlet.hidden(method, many));
  }
}
