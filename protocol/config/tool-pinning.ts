/** What is done about tools that are not as they were: nothing, said, or kept from callers. */
import { word } from './section.ts';

const MODES = ['off', 'warn', 'enforce'] as const;
export type ToolPinning = (typeof MODES)[number];

export const toolPinningSchema = word(MODES);
