/**
 * Changes requests, and the responses to them, by expressions (policies/transform.ts has what a transformation is).
 *
 * U1 Of several under `conditional` one counts (rules/conditional.ts). For the response the conditions are asked again, of the
 *    request as its policies left it; so they may not ask for its body.
 * U2 A body is read for expressions that name it, whole and up to a limit, and otherwise left alone.
 * U3 A body that cannot be transformed goes nowhere: the request is denied with 400, the response becomes a 502.
 */
import { z } from 'zod';
import { headerName, isAuthority, isFraming, isHeaderName } from '#protocol/config/header-text.ts';
import { nonEmpty } from '#protocol/config/section.ts';
import type { PlainValue } from '../cel/plain.ts';
import { definePolicy, deny, pass } from '../policy.ts';
import type { CompiledPolicy, Deny, Facts, Judging, PolicyCall, PolicyDeps, Verdict } from '../policy.ts';
import type { RequestEdit } from '../request-edits.ts';
import { type ResponseEdit, type ResponseHead, editResponse } from '../response-edits.ts';
import { compileChoice, entriesOf, refuseBeside } from '../rules/conditional.ts';
import { READ_BYTES_MAX, prefixOf } from '../rules/request-body.ts';
import { REQUEST_SCOPE } from '../rules/request-scope.ts';
import { expressionIn, readsBody, requestExpression, textOf } from '../rules/request-values.ts';
import { requestVariables } from '../rules/request-variables.ts';
import { type Made, type Metadata, type Transform, type TransformConfig, compileTransform, transform } from '../transform.ts';

const ID = 'transformations';
const ENTRIES_MAX = 64;
const NAME_CHARS_MAX = 128;
const FAILED = 'the body could not be transformed';

const REQUEST_PSEUDO = [':method', ':path', ':authority', ':scheme'] as const;
const RESPONSE_PSEUDO = [':status'] as const;

/** `host` is the header that `:authority` stands in. */
const nameIn = (pseudo: readonly string[]) =>
  z
    .string()
    .max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`)
    .transform((name) => (name.toLowerCase() === 'host' && pseudo === REQUEST_PSEUDO ? ':authority' : name.toLowerCase()))
    .refine((name) => pseudo.includes(name) || (isHeaderName(name) && !isFraming(name)), `expected the name of a header that is not the connection's own, or one of ${pseudo.join(', ')}`);

const few = (entries: object): boolean => Object.keys(entries).length <= ENTRIES_MAX;
const FEW = `at most ${ENTRIES_MAX} entries`;

const transformIn = (pseudo: readonly string[], expression: z.ZodType<string, string>) =>
  z.strictObject({
    metadata: z.record(nonEmpty, expression).refine(few, FEW).nullish(),
    replace: expression.nullish(),
    add: z.record(nameIn(pseudo), expression).refine(few, FEW).nullish(),
    set: z.record(nameIn(pseudo), expression).refine(few, FEW).nullish(),
    remove: z.array(headerName.transform((name) => name.toLowerCase())).max(ENTRIES_MAX, FEW).nullish(),
    body: expression.nullish(),
  });

const withResponse = expressionIn({
  variables: [...REQUEST_SCOPE.variables, 'response'],
  refuse: (path) => (path[0] === 'request' && path[1] === 'body' ? 'request.body is not kept for the response: metadata of the request is' : REQUEST_SCOPE.refuse(path)),
});

const shape = { request: transformIn(REQUEST_PSEUDO, requestExpression).nullish(), response: transformIn(RESPONSE_PSEUDO, withResponse).nullish() };

const conditional = entriesOf(z.strictObject({ condition: expressionIn(REQUEST_SCOPE).nullish(), ...shape }));

const schema = z.strictObject({ ...shape, conditional: conditional.nullish() }).superRefine((value, context) => void (value.conditional == null || refuseBeside(value, context)));

export const transformations = definePolicy({ id: ID, schema, compile });

interface Entry {
  readonly request: Transform | undefined;
  readonly response: Transform | undefined;
  /** The expressions for the response ask for its body, or put another in its place. */
  readonly readsResponse: boolean;
}

interface EntryConfig {
  readonly condition?: string | null | undefined;
  readonly request?: TransformConfig | null | undefined;
  readonly response?: TransformConfig | null | undefined;
}

function entryOf({ request, response }: EntryConfig): Entry {
  const after = response == null ? undefined : compileTransform(response);
  return {
    request: request == null ? undefined : compileTransform(request),
    response: after,
    readsResponse: after !== undefined && (after.body !== undefined || after.expressions.some(({ captures }) => captures.reads('response', 'body'))),
  };
}

function compile({ conditional: several, ...only }: z.output<typeof schema>, deps: PolicyDeps): CompiledPolicy {
  const made = new Map((several ?? [only]).map((entry: EntryConfig) => [entry, entryOf(entry)]));
  const entries = [...made.values()];
  const { choose } = compileChoice([...made.keys()], (entry) => made.get(entry) as Entry);
  return {
    apply(call, facts) {
      const entry = choose(requestVariables(call, facts, deps));
      if (entry === 'failed') return deny(500, `${ID}/condition`, 'this request cannot be transformed');
      // What comes in a coding cannot be read: nobody is asked for one.
      const asked: RequestEdit[] = entry?.readsResponse === true ? [{ kind: 'remove', header: 'accept-encoding' }] : [];
      if (entry?.request !== undefined) return transformRequest(entry.request, { call, facts, deps, asked });
      return asked.length === 0 ? pass : { kind: 'rewrite', responseHeaders: [], requestEdits: asked };
    },
    ...(entries.every(({ response }) => response === undefined) ? {} : {
      applyResponse(head, call, facts) {
        const entry = choose(requestVariables(call, facts, deps));
        return entry === 'failed' || entry?.response === undefined ? [] : transformResponse(entry.response, { head, call, facts, deps });
      },
    }),
    ...(entries.some(({ readsResponse }) => readsResponse) ? { readsResponse: true } : {}),
  };
}

interface Came {
  readonly call: PolicyCall;
  readonly facts: Facts;
  readonly deps: PolicyDeps;
}

type CameRequest = Came & { readonly asked: readonly RequestEdit[] };

const withMetadata = (facts: Facts, metadata: Metadata): Facts => (Object.keys(metadata).length === 0 ? facts : { ...facts, metadata: { ...facts.metadata, ...metadata } });

/** U2 */
function transformRequest(plan: Transform, came: CameRequest): Judging {
  if (!plan.expressions.some(readsBody)) return rewritten(plan, came);
  return prefixOf(came.call, { id: ID, max: READ_BYTES_MAX }, ({ bytes, complete }) => (complete ? rewritten(plan, came, bytes) : deny(413, `${ID}/too-large`, `the body is larger than ${READ_BYTES_MAX} bytes`)));
}

function rewritten(plan: Transform, { call, facts, deps, asked }: CameRequest, body?: Uint8Array): Verdict {
  const edits: RequestEdit[] = [...asked];
  let now = asked.length === 0 ? call : call.with(asked);
  const edit = (one: RequestEdit): void => {
    edits.push(one);
    now = now.with([one]);
  };
  const made = transform(
    plan,
    {
      known: (metadata) => requestVariables(now, withMetadata(facts, metadata), deps, body),
      headerNames: () => Object.keys(now.headers),
      edit,
      pseudo: (name, value) => {
        const one = requestPseudo(name, value);
        if (one !== undefined) edit(one);
      },
    },
    true,
  );
  if (made.body === 'failed') return bodyFailed();
  for (const one of bodyEdits(plan, made.body)) edit(one);
  const { metadata } = withMetadata(facts, made.metadata);
  return { kind: 'rewrite', responseHeaders: [], requestEdits: edits, ...(metadata === undefined ? {} : { facts: { metadata } }) };
}

/** U3 */
const bodyFailed = (): Deny => deny(400, `${ID}/body`, FAILED);

const JSON_TYPE: RequestEdit & ResponseEdit = { kind: 'set', header: 'content-type', value: 'application/json' };

/** What is made as JSON says so, unless the operator says what it is. */
function bodyEdits({ written }: Transform, body: Exclude<Made['body'], 'failed'>): readonly (RequestEdit & ResponseEdit)[] {
  if (body === undefined) return [];
  const typed = body.json && written.every(({ name }) => name !== 'content-type');
  return [...(typed ? [JSON_TYPE] : []), { kind: 'setBody', body: body.bytes }];
}

const METHOD = /^[A-Z][A-Z-]{0,31}$/;
const PATH = /^\/[\x21\x22\x24-\x7e]{0,8191}$/;

function requestPseudo(name: string, value: PlainValue): RequestEdit | undefined {
  const text = textOf(value) ?? '';
  switch (name) {
    case ':method':
      return METHOD.test(text) ? { kind: 'setMethod', method: text } : undefined;
    case ':authority':
      return isAuthority(text) ? { kind: 'setAuthority', authority: text } : undefined;
    case ':scheme':
      return text === 'http' || text === 'https' ? { kind: 'setScheme', scheme: text } : undefined;
    default: {
      const [path = '', ...query] = text.split('?');
      return PATH.test(text) ? { kind: 'setPath', path, query: query.join('?') } : undefined;
    }
  }
}

function transformResponse(plan: Transform, { head, call, facts, deps }: Came & { readonly head: ResponseHead }): readonly ResponseEdit[] {
  const edits: ResponseEdit[] = [];
  let now = head;
  const edit = (one: ResponseEdit): void => {
    edits.push(one);
    now = editResponse(now, [one]);
  };
  const made = transform(
    plan,
    {
      known: (metadata) => ({ ...requestVariables(call, withMetadata(facts, metadata), deps), response: { code: now.status, headers: now.headers, ...(now.body === undefined ? {} : { body: now.body }) } }),
      headerNames: () => Object.keys(now.headers),
      edit,
      pseudo: (_name, value) => {
        if (typeof value === 'number' && Number.isInteger(value) && value >= 200 && value <= 599) edit({ kind: 'setStatus', status: value });
      },
    },
    head.body !== undefined,
  );
  if (made.body === 'failed') return UNTRANSFORMED;
  for (const one of bodyEdits(plan, made.body)) edit(one);
  return Object.keys(made.metadata).length === 0 ? edits : [...edits, { kind: 'learn', metadata: made.metadata }];
}

/** U3 */
const UNTRANSFORMED: readonly ResponseEdit[] = [
  { kind: 'setStatus', status: 502 },
  { kind: 'set', header: 'content-type', value: 'text/plain' },
  { kind: 'setBody', body: new TextEncoder().encode(FAILED) },
];
