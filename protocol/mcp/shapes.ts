/**
 * The messages that open a conversation, by the official schemas: checked once per session or target, where wrong shapes
 * would be remembered. Calls are not checked: what passes through is the receiver's to judge.
 */
import { DiscoverResultSchema, InitializeRequestSchema, InitializeResultSchema } from '@modelcontextprotocol/core';
import type { z } from 'zod';

/** The first thing wrong with a value, with its path; undefined when its shape is right. */
const wrong = (schema: z.ZodType) => (value: unknown): string | undefined => {
  const [issue] = schema.safeParse(value).error?.issues ?? [];
  return issue && `${issue.path.join('.') || 'the message'}: ${issue.message}`;
};

export const wrongInitialize = wrong(InitializeRequestSchema as unknown as z.ZodType);
export const wrongInitializeResult = wrong(InitializeResultSchema as unknown as z.ZodType);
export const wrongDiscoverResult = wrong(DiscoverResultSchema as unknown as z.ZodType);
