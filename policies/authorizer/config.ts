/** What a policy that asks an authorizer may say: the keys of `extAuthz`. */
import { z } from 'zod';
import { Callout, calloutAt, calloutShape } from '#protocol/config/callout.ts';
import { parseDuration } from '#protocol/config/duration.ts';
import { headerName, isFraming, isHeaderName } from '#protocol/config/header-text.ts';
import { type OwnAuth, ownAuth } from '#protocol/config/own-credentials.ts';
import { count, exactlyOne, flag, nonEmpty } from '#protocol/config/section.ts';
import { conditionShape, entriesOf, refuseBeside } from '../rules/conditional.ts';
import { requestExpression, responseExpression } from '../rules/request-values.ts';
import { PSEUDO, isPseudo } from './headers.ts';

const ENTRIES_MAX = 64;
const HEADERS_MAX = 128;
const KEY_PARTS_MAX = 16;
const BODY_BYTES_MAX = 8 * 1024 * 1024;
const CACHE_ENTRIES_MAX = 1_000_000;

const upTo = (max: number) => [max, `at most ${max} entries`] as const;
const few = (entries: object): boolean => Object.keys(entries).length <= ENTRIES_MAX;
const FEW = `at most ${ENTRIES_MAX} entries`;

const headerOrPseudo = z.string().transform((name) => name.toLowerCase()).refine((name) => isPseudo(name) || (isHeaderName(name) && !isFraming(name)), `expected the name of a header that is not the connection's own, or one of ${PSEUDO.join(', ')}`);

const grpc = z.strictObject({
  context: z.record(z.string(), z.string()).refine(few, FEW).nullish(),
  metadata: z.record(nonEmpty, requestExpression).refine(few, FEW).nullish(),
});

const http = z.strictObject({
  path: requestExpression.nullish(),
  redirect: requestExpression.nullish(),
  body: requestExpression.nullish(),
  includeResponseHeaders: z.array(headerName.transform((name) => name.toLowerCase())).max(...upTo(HEADERS_MAX)).nullish(),
  addRequestHeaders: z.record(headerOrPseudo, requestExpression).refine(few, FEW).nullish(),
  metadata: z.record(nonEmpty, responseExpression).refine(few, FEW).nullish(),
});

const ttl = z.string().superRefine((text, context) => {
  if (parseDuration(text) !== undefined) return;
  const issue = requestExpression.safeParse(text).error?.issues[0];
  if (issue !== undefined) context.addIssue({ code: 'custom', message: `neither a duration nor an expression: ${issue.message}` });
});

const shape = {
  ...calloutShape,
  /** In the place of the four keys above, once a document was compiled. */
  callout: z.instanceof(Callout).optional(),
  protocol: z.strictObject({ grpc: grpc.nullish(), http: http.nullish() }).superRefine(exactlyOne(['grpc', 'http'])).nullish(),
  failureMode: z.union([z.enum(['allow', 'deny']), z.strictObject({ denyWithStatus: z.int().min(400, 'a status of an error is 400 to 599').max(599, 'a status of an error is 400 to 599') })], 'expected allow, deny, or denyWithStatus: with a status').nullish(),
  includeRequestHeaders: z.array(headerOrPseudo).max(...upTo(HEADERS_MAX)).nullish(),
  includeRequestBody: z
    .strictObject({ maxRequestBytes: count.min(1, 'at least 1').max(BODY_BYTES_MAX, `at most ${BODY_BYTES_MAX}`).nullish(), allowPartialMessage: flag.nullish(), packAsBytes: flag.nullish() })
    .nullish(),
  cache: z.strictObject({ key: z.array(requestExpression).max(...upTo(KEY_PARTS_MAX)), ttl, maxEntries: count.max(CACHE_ENTRIES_MAX, `at most ${CACHE_ENTRIES_MAX}`).nullish() }).nullish(),
};

const one = z.strictObject(shape);
export type AuthorizerConfig = z.output<typeof one>;

const server = exactlyOne(['host', 'backend', 'service', 'callout'], ['host', 'backend', 'service']);

const inQuery = ({ keys, token }: OwnAuth): boolean => keys.some(({ location }) => location.in === 'query') || (token?.kind === 'jwtSign' && token.location.in === 'query');

function checked(value: AuthorizerConfig, context: z.RefinementCtx): void {
  server(value, context);
  const found = value.host === undefined ? undefined : calloutAt(value);
  if (found !== undefined && 'problem' in found) context.addIssue({ code: 'custom', path: ['host'], message: found.problem });
  if (value.protocol?.http != null) return;
  const { backendTLS, backendAuth, requestHeaderModifier, http: wanted, backendTunnel } = value.policies ?? {};
  const complain = (path: string[], message: string): void => context.addIssue({ code: 'custom', path: ['policies', ...path], message });
  if (backendTLS?.alpn != null) complain(['backendTLS', 'alpn'], 'gRPC is spoken over HTTP/2 alone');
  if (wanted?.version === 'HTTP/1.1') complain(['http', 'version'], 'gRPC is spoken over HTTP/2 alone');
  if (Object.keys(requestHeaderModifier?.set ?? {}).some((name) => name.toLowerCase() === 'host')) complain(['requestHeaderModifier', 'set', 'host'], 'gRPC has no such header: it is the host that is asked');
  if (backendAuth?.aws != null) complain(['backendAuth', 'aws'], 'Parley signs requests of HTTP alone, not of gRPC');
  if (backendAuth != null && inQuery(ownAuth(backendAuth))) complain(['backendAuth'], 'gRPC has no query for a credential: put it into a header');
  if (backendTunnel?.policies?.backendTLS != null) complain(['backendTunnel', 'policies', 'backendTLS'], 'Parley speaks plain HTTP to the proxy of a gRPC authorizer: leave it out, or ask by HTTP');
}

const conditional = entriesOf(z.strictObject({ ...conditionShape, ...shape }).superRefine(checked));

/** One authorizer, or several of which the first whose condition is true is asked. */
export const authorizerSchema = z.strictObject({ ...shape, conditional: conditional.nullish() }).superRefine((value, context) => (value.conditional == null ? checked(value, context) : refuseBeside(value, context)));

export type AuthorizersConfig = z.output<typeof authorizerSchema>;
