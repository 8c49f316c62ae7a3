/** What is done to the headers of a request or a response: added, then set, then removed. */
import { z } from 'zod';
import { headerName, headerValue, isAuthority } from './header-text.ts';

const HEADERS_MAX = 64;

const few = (entries: object): boolean => Object.keys(entries).length <= HEADERS_MAX;
const FEW = `at most ${HEADERS_MAX} headers`;

const modifier = (settable: z.ZodType<string, string>) =>
  z.strictObject({
    add: z.record(headerName, headerValue).refine(few, FEW).nullish(),
    set: z.record(settable, headerValue).refine(few, FEW).nullish(),
    remove: z.array(headerName).max(HEADERS_MAX, FEW).nullish(),
  });

export const headerModifierSchema = modifier(headerName);

const isHost = (name: string): boolean => name.toLowerCase() === 'host';

const headerNameOrHost = z.string().superRefine((name, context) => {
  for (const { message } of isHost(name) ? [] : (headerName.safeParse(name).error?.issues ?? [])) context.addIssue({ code: 'custom', message });
});

/** A request has one host, which can be another. */
export const requestHeaderModifierSchema = modifier(headerNameOrHost).superRefine(({ set }, context) => {
  for (const [name, value] of Object.entries(set ?? {})) {
    if (isHost(name) && !isAuthority(value)) context.addIssue({ code: 'custom', path: ['set', name], message: 'expected a host, with or without a port' });
  }
});

export type HeaderModifier = z.output<typeof headerModifierSchema>;

export type HeaderTexts = Readonly<Record<string, string>>;

/** What a modifier makes of headers, whose names are in lower case. */
export function modified(before: HeaderTexts, { add, set, remove }: HeaderModifier): HeaderTexts {
  const headers = { ...before };
  for (const [name, value] of Object.entries(add ?? {})) {
    const there = headers[name.toLowerCase()];
    headers[name.toLowerCase()] = there === undefined ? value : `${there}, ${value}`;
  }
  for (const [name, value] of Object.entries(set ?? {})) headers[name.toLowerCase()] = value;
  for (const name of remove ?? []) delete headers[name.toLowerCase()];
  return headers;
}

/** Those that it writes, as they are written. */
export const namesIn = ({ add, set }: HeaderModifier): readonly (readonly ['add' | 'set', string])[] => [
  ...Object.keys(add ?? {}).map((name) => ['add', name] as const),
  ...Object.keys(set ?? {}).map((name) => ['set', name] as const),
];
