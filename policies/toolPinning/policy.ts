/**
 * Whether the tools of a server may be others than they were. Judged by the connector, which alone sees what a server
 * shows of itself; the mode of each target is compiled into its backend (protocol/config/compile-backends.ts), since it
 * may be written at a target too.
 */
import { toolPinningSchema } from '#protocol/config/tool-pinning.ts';
import { defineRulePolicy } from '../policy.ts';

export const toolPinning = defineRulePolicy({ id: 'toolPinning', schema: toolPinningSchema, judgedBy: 'connector' });
