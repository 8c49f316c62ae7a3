/** The text of `config.customFunctions`, in front of those whose expressions call what it defines. */
import { z } from 'zod';
import { functionProblems } from '../cel/custom-functions.ts';

export const customFunctionsSchema = z.string().superRefine((text, context) => {
  for (const { line, column, message } of functionProblems(text)) context.addIssue({ code: 'custom', message: `line ${line}, column ${column} of the functions: ${message}` });
});
