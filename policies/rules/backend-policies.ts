/** The policies of a backend as one route sees them: its own, and those the route writes beside it. */
import type { PolicyDocuments } from '#protocol/config/generation.ts';
import type { RulesDocument } from './rule-set.ts';

const RULES = 'authorization';

/** The route's word counts; but rules of both apply (rule-set.ts L2). */
export function mergeBackendPolicies(own: PolicyDocuments, ofRoute: PolicyDocuments): PolicyDocuments {
  const merged = { ...own, ...ofRoute };
  const [one, other] = [own[RULES], ofRoute[RULES]] as (RulesDocument | null | undefined)[];
  return one == null || other == null ? { ...merged, [RULES]: one ?? other } : { ...merged, [RULES]: { rules: [...other.rules, ...one.rules] } };
}
