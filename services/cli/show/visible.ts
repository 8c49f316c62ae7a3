/** Text of a server that nobody trusts yet, so that a person sees all of it. */
import { quoted } from './audit-line.ts';

/**
 * Controls, and what has no shape: characters that are not there for a person and are for a model, or that turn the order
 * of what stands beside them.
 */
const SHAPELESS = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

const named = (char: string): string => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;

export const visible = (text: string): string => text.replace(SHAPELESS, named);

/** A name on one line. */
export const visibleName = (name: string): string => visible(quoted(name));
