/** Changes the headers of a response, whoever made it. */
import { type HeaderModifier, headerModifierSchema } from '#protocol/config/header-modifier.ts';
import { definePolicy, pass } from '../policy.ts';
import type { CompiledPolicy } from '../policy.ts';
import { editsOf } from '../request-edits.ts';

export const responseHeaderModifier = definePolicy({ id: 'responseHeaderModifier', schema: headerModifierSchema, compile });

function compile(modifier: HeaderModifier): CompiledPolicy {
  const edits = editsOf(modifier);
  return { apply: () => pass, ...(edits.length === 0 ? {} : { applyResponse: () => edits }) };
}
