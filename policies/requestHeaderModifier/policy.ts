/** Changes the headers of a request, for the policies after it and for whoever is asked in the end. */
import { type HeaderModifier, requestHeaderModifierSchema } from '#protocol/config/header-modifier.ts';
import { definePolicy, pass } from '../policy.ts';
import type { CompiledPolicy, Rewrite } from '../policy.ts';
import { type HeaderEdit, type RequestEdit, editsOf } from '../request-edits.ts';

export const requestHeaderModifier = definePolicy({ id: 'requestHeaderModifier', schema: requestHeaderModifierSchema, compile });

function compile(modifier: HeaderModifier): CompiledPolicy {
  const requestEdits = editsOf(modifier).map(ofHost);
  const rewrite: Rewrite = { kind: 'rewrite', responseHeaders: [], requestEdits };
  return { apply: () => (requestEdits.length === 0 ? pass : rewrite) };
}

/** The host of a request is more than a header. */
const ofHost = (edit: HeaderEdit): RequestEdit => (edit.header === 'host' && edit.kind === 'set' ? { kind: 'setAuthority', authority: edit.value } : edit);
