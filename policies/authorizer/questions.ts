/** A call as the two kinds of authorizers are told of it. */
import { isHeaderValue } from '#protocol/config/header-text.ts';
import type { BodyPrefix, Facts, PolicyCall, Source } from '../policy.ts';
import type { Activation } from '../cel/variables.ts';
import type { Expression } from '../cel/expression.ts';
import type { HttpQuestion } from './authorizer.ts';
import type { CheckRequest, Peer } from './check.ts';
import { bytesOf, jsonOf, textOf } from '../rules/request-values.ts';
import { PSEUDO, type Pseudo, isPseudo, pseudoOf, textOf as headerText } from './headers.ts';
import { structOf } from './struct.ts';

/** What was read of the body, when it was asked for. */
export interface Told {
  readonly call: PolicyCall;
  readonly facts: Facts;
  readonly variables: Activation;
  readonly body: BodyPrefix | undefined;
  readonly nowMs: number;
}

export interface GrpcSettings {
  readonly context: Readonly<Record<string, string>>;
  /** Undefined = the claims of a verified token, under Envoy's name for them. */
  readonly metadata: readonly (readonly [name: string, value: Expression])[] | undefined;
  /** Empty = all. */
  readonly headers: readonly string[];
  readonly packAsBytes: boolean;
}

const JWT_METADATA = 'envoy.filters.http.jwt_authn';

export function checkRequest({ context, metadata, headers, packAsBytes }: GrpcSettings, told: Told): CheckRequest {
  const { call, body, nowMs } = told;
  const bytes = body?.bytes ?? new Uint8Array();
  return {
    attributes: {
      source: { ...peerOf(call.source), principal: principalOf(call.source) },
      destination: call.destination === undefined ? undefined : { ...peerOf(call.destination), principal: '' },
      request: {
        time: { seconds: Math.floor(nowMs / 1000), nanos: (nowMs % 1000) * 1_000_000 },
        http: {
          id: headerText('x-request-id', call.headers['x-request-id']) ?? crypto.randomUUID(),
          method: call.method,
          headers: headers.length === 0 ? allHeaders(call) : pickedHeaders(headers, call),
          path: pseudoOf(call, ':path'),
          host: call.host,
          scheme: call.scheme,
          size: body === undefined ? 0 : sizeOf(call, body),
          protocol: call.version,
          body: packAsBytes ? '' : new TextDecoder().decode(bytes),
          raw_body: packAsBytes ? bytes : new Uint8Array(),
        },
      },
      context_extensions: context,
      metadata_context: { filter_metadata: metadata === undefined ? claimsOf(told.facts) : evaluated(metadata, told.variables) },
    },
  };
}

const peerOf = ({ address, port }: Pick<Source, 'address' | 'port'>): Pick<Peer, 'address'> => ({ address: { socket_address: { address, port_value: port } } });

/** Of a client certificate: its URI, else its first name, else its subject. */
const principalOf = ({ tls }: Source): string => tls?.spiffeId ?? tls?.subjectAltNames[0] ?? tls?.subject ?? '';

function sizeOf({ headers }: PolicyCall, { bytes, complete }: BodyPrefix): number {
  const written = Number(headers['content-length'] ?? Number.NaN);
  if (Number.isSafeInteger(written)) return written;
  return complete ? bytes.length : -1;
}

function claimsOf({ jwt }: Facts): CheckRequest['attributes']['metadata_context']['filter_metadata'] {
  if (jwt === undefined) return {};
  const { rawToken: _, ...claims } = jwt;
  return { [JWT_METADATA]: structOf({ jwt_payload: claims }) };
}

/** Those that have a map as value. */
const evaluated = (expressions: readonly (readonly [string, Expression])[], variables: Activation): Record<string, ReturnType<typeof structOf>> =>
  Object.fromEntries(
    expressions.flatMap(([name, expression]) => {
      const outcome = expression.evaluateUnredacted(variables);
      const value = outcome.ok ? jsonOf(outcome.value) : undefined;
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? [[name, structOf(value)]] : [];
    }),
  );

function allHeaders(call: PolicyCall): Record<string, string> {
  const told: Record<string, string> = {};
  for (const name of PSEUDO) told[name] = pseudoOf(call, name);
  for (const [name, value] of Object.entries(call.headers)) {
    const text = headerText(name, value);
    if (text !== undefined) told[name] = text;
  }
  return told;
}

function pickedHeaders(names: readonly string[], call: PolicyCall): Record<string, string> {
  const told: Record<string, string> = {};
  for (const name of names) {
    const text = isPseudo(name) ? pseudoOf(call, name) : headerText(name, call.headers[name]);
    if (text !== undefined) told[name] = text;
  }
  return told;
}

export interface HttpSettings {
  /** Undefined = that of the call. */
  readonly path: Expression | undefined;
  /** Undefined = that of the call, as far as it was read. */
  readonly body: Expression | undefined;
  readonly headers: readonly string[];
  readonly added: readonly (readonly [name: string, value: Expression])[];
}

const PARTIAL = 'x-envoy-auth-partial-body';
const METHOD = /^[A-Z]{1,20}$/;

/** Undefined = an expression has nothing that can be sent. */
export function httpQuestion({ path, body, headers, added }: HttpSettings, told: Told): HttpQuestion | undefined {
  const { call, variables } = told;
  const asked: Record<string, string> = pickedHeaders(headers, call);
  if (body === undefined && told.body !== undefined) asked[PARTIAL] = String(!told.body.complete);
  for (const [name, expression] of added) {
    const outcome = expression.evaluateUnredacted(variables);
    const text = outcome.ok ? textOf(outcome.value) : undefined;
    if (text !== undefined && isHeaderValue(text)) asked[name] = text;
    else delete asked[name];
  }
  const method = taken(asked, ':method') ?? call.method;
  const wanted = path === undefined ? pseudoOf(call, ':path') : evaluatedText(path, variables);
  const target = taken(asked, ':path') ?? wanted;
  const authority = taken(asked, ':authority');
  taken(asked, ':scheme');
  const sent = body === undefined ? told.body?.bytes : evaluatedBytes(body, variables);
  if (target === undefined || !isPath(target) || !METHOD.test(method) || (body !== undefined && sent === undefined)) return undefined;
  return { method, path: target, headers: authority === undefined ? asked : { ...asked, host: authority }, body: sent === undefined || sent.length === 0 ? undefined : sent };
}

/** What undici puts into the first line. */
const isPath = (text: string): boolean => /^\/[\x21-\x7e]*$/.test(text);

/** A pseudo-header is none: it says something else of the request. */
function taken(headers: Record<string, string>, name: Pseudo): string | undefined {
  const value = headers[name];
  delete headers[name];
  return value;
}

function evaluatedText(expression: Expression, variables: Activation): string | undefined {
  const outcome = expression.evaluateUnredacted(variables);
  return outcome.ok && typeof outcome.value === 'string' ? outcome.value : undefined;
}

function evaluatedBytes(expression: Expression, variables: Activation): Uint8Array | undefined {
  const outcome = expression.evaluateUnredacted(variables);
  return outcome.ok ? bytesOf(outcome.value) : undefined;
}
