/** What an authorizer decided, whichever way it was asked. */
import type { Content, Deny, Facts, HeaderList, Rewrite, Verdict } from '../policy.ts';
import { deny } from '../policy.ts';
import type { RequestEdit } from '../request-edits.ts';

export type Metadata = Readonly<Record<string, unknown>>;

export interface Allowed {
  readonly kind: 'allowed';
  readonly requestEdits: readonly RequestEdit[];
  readonly responseHeaders: HeaderList;
  readonly metadata: Metadata | undefined;
}

export interface Denied {
  readonly kind: 'denied';
  readonly status: number;
  readonly responseHeaders: HeaderList;
  /** Undefined = it said no, and not with which words. */
  readonly content: Content | undefined;
  /** It is about this moment (too many, not found), and says nothing of the next one. */
  readonly passing?: true;
  readonly metadata: Metadata | undefined;
}

export type Decision = Allowed | Denied;

const NO = 'external authorization denied this request';

export function verdictOf(decision: Decision): Verdict {
  const facts = factsOf(decision.metadata);
  if (decision.kind === 'allowed') {
    const { responseHeaders, requestEdits } = decision;
    const verdict: Rewrite = { kind: 'rewrite', responseHeaders, ...facts, ...(requestEdits.length === 0 ? {} : { requestEdits }) };
    return verdict;
  }
  const { status, responseHeaders, content } = decision;
  const verdict: Deny = { ...deny(status, 'extAuthz/denied', NO), responseHeaders, ...facts, ...(content === undefined ? {} : { content }) };
  return verdict;
}

const factsOf = (extauthz: Metadata | undefined): { readonly facts?: Facts } => (extauthz === undefined ? {} : { facts: { extauthz } });
