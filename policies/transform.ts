/**
 * One transformation, of a request or of a response. Each step sees what the ones before it made:
 *
 *   metadata → replace → add → set → remove → body
 *
 * T1 A header whose expression fails, or makes nothing that a header can carry, is taken away: what came under its name was to be
 *    replaced. Pseudo-headers stay; so do all headers where the expression for all of them fails.
 * T2 A body whose expression fails is no body. What that means is its caller's business.
 * T3 Metadata may be shown later: what is made of a credential is `<redacted>` in it. Headers and bodies are used as they are.
 */
import { isFraming, isHeaderName, isHeaderValue } from '#protocol/config/header-text.ts';
import { bytesOf, compiled, jsonOf, textOf } from './rules/request-values.ts';
import type { Expression } from './cel/expression.ts';
import type { PlainValue } from './cel/plain.ts';
import type { Activation } from './cel/variables.ts';
import type { Facts } from './policy.ts';
import type { HeaderEdit } from './request-edits.ts';

export type Metadata = NonNullable<Facts['metadata']>;

/** Names of headers in lower case. */
export interface TransformConfig {
  readonly metadata?: Readonly<Record<string, string>> | null | undefined;
  readonly replace?: string | null | undefined;
  readonly add?: Readonly<Record<string, string>> | null | undefined;
  readonly set?: Readonly<Record<string, string>> | null | undefined;
  readonly remove?: readonly string[] | null | undefined;
  readonly body?: string | null | undefined;
}

type Named = readonly (readonly [name: string, expression: Expression])[];

export interface Transform {
  readonly metadata: Named;
  readonly replace: Expression | undefined;
  readonly written: readonly { readonly kind: 'append' | 'set'; readonly name: string; readonly expression: Expression }[];
  readonly removed: readonly string[];
  readonly body: Expression | undefined;
  /** All of them. */
  readonly expressions: readonly Expression[];
}

/** Of sources that their schema let through. */
export function compileTransform({ metadata, replace, add, set, remove, body }: TransformConfig): Transform {
  const named = (sources: Readonly<Record<string, string>> | null | undefined): Named => Object.entries(sources ?? {}).map(([name, source]) => [name, compiled(source)]);
  const optional = (source: string | null | undefined): Expression | undefined => (source == null ? undefined : compiled(source));
  const [values, whole, content] = [named(metadata), optional(replace), optional(body)];
  const written = [
    ...named(add).map(([name, expression]) => ({ kind: 'append' as const, name, expression })),
    ...named(set).map(([name, expression]) => ({ kind: 'set' as const, name, expression })),
  ];
  const expressions = [...values.map(([, expression]) => expression), ...written.map(({ expression }) => expression), whole, content].filter((one) => one !== undefined);
  return { metadata: values, replace: whole, written, removed: remove ?? [], body: content, expressions };
}

/** What is transformed, as far as it differs between the two. */
export interface Side {
  /** All that expressions may ask for now. @param metadata that was set here. */
  known(metadata: Metadata): Activation;
  headerNames(): readonly string[];
  edit(edit: HeaderEdit): void;
  /** Nothing happens for a value that is none for it. */
  pseudo(name: string, value: PlainValue): void;
}

export interface Made {
  readonly metadata: Metadata;
  /** Undefined = it is not asked for. */
  readonly body: Body | 'failed' | undefined;
}

interface Body {
  readonly bytes: Uint8Array;
  /** It was made as JSON, of what was no text. */
  readonly json: boolean;
}

/** @param hasBody there is a body that another can be put in place of. */
export function transform({ metadata, replace, written, removed, body }: Transform, side: Side, hasBody: boolean): Made {
  const set: Record<string, unknown> = {};
  for (const [name, expression] of metadata) {
    const outcome = expression.evaluate(side.known(set));
    if (outcome.ok) set[name] = jsonOf(outcome.value);
  }
  const valueOf = (expression: Expression): PlainValue | undefined => {
    const outcome = expression.evaluateUnredacted(side.known(set));
    return outcome.ok ? outcome.value : undefined;
  };
  if (replace !== undefined) replaceHeaders(valueOf(replace), side);
  for (const { kind, name, expression } of written) {
    const value = valueOf(expression);
    if (!name.startsWith(':')) side.edit(headerEdit(kind, name, value));
    else if (value !== undefined) side.pseudo(name, value);
  }
  for (const header of removed) side.edit({ kind: 'remove', header });
  return { metadata: set, body: body === undefined || !hasBody ? undefined : bodyOf(valueOf(body)) };
}

/** T1 */
function headerEdit(kind: 'append' | 'set', header: string, value: PlainValue | undefined): HeaderEdit {
  const text = value === undefined ? undefined : textOf(value);
  return text === undefined || !isHeaderValue(text) ? { kind: 'remove', header } : { kind, header, value: text };
}

function replaceHeaders(value: PlainValue | undefined, side: Side): void {
  if (!isMap(value)) return;
  for (const header of side.headerNames()) if (!isFraming(header)) side.edit({ kind: 'remove', header });
  for (const [given, one] of Object.entries(value)) {
    const name = given.toLowerCase();
    if (!isHeaderName(name) || isFraming(name)) continue;
    for (const item of Array.isArray(one) ? (one as readonly PlainValue[]) : [one]) {
      const edit = headerEdit('append', name, item);
      if (edit.kind !== 'remove') side.edit(edit);
    }
  }
}

const isMap = (value: PlainValue | undefined): value is { readonly [key: string]: PlainValue } =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;

function bodyOf(value: PlainValue | undefined): Body | 'failed' {
  const bytes = value === undefined ? undefined : bytesOf(value);
  return bytes === undefined ? 'failed' : { bytes, json: typeof value !== 'string' && !(value instanceof Uint8Array) };
}
