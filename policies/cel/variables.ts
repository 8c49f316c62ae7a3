/** The variables of expressions: everything an expression may begin a path with. */
import type { CelValue } from '@bufbuild/cel';
import { spoken } from '#protocol/config/language.ts';
import { celValue, viewOfObject } from './collections.ts';
import type { FieldViews } from './collections.ts';
import { viewOfHeaders } from './headers.ts';
import { opaque } from './opaque.ts';
import { carriesSecret } from './query.ts';

interface Variable {
  readonly about: string;
  /** All its fields. Absent: they are whatever somebody else says. */
  readonly fields?: readonly string[];
  /** Fields of the configuration format that there is nothing to fill with. */
  readonly notYet?: Readonly<Record<string, string>>;
  /** Fields that are not plain JSON. */
  readonly views?: FieldViews;
}

const secret = (value: unknown): CelValue | undefined => (typeof value === 'string' ? opaque({ kind: 'secret', value }) : celValue(value));

/** Of a URL: a secret when a parameter of its query is one. */
function url(value: unknown): CelValue | undefined {
  const { secretParameters } = spoken();
  if (typeof value !== 'string' || !value.includes('?')) return celValue(value);
  return carriesSecret(value, secretParameters) ? secret(value) : value;
}

const AFTERWARDS = 'it is known when a call is over, and nothing keeps it until then';

const VARIABLE_TABLE = {
  request: {
    about: 'the HTTP request',
    fields: ['method', 'uri', 'host', 'scheme', 'path', 'pathAndQuery', 'version', 'headers', 'body', 'startTime'],
    notYet: { bodyPrefix: 'a body is there whole or not at all: use request.body where it is available', endTime: AFTERWARDS },
    views: { headers: viewOfHeaders, uri: url, pathAndQuery: url },
  },
  response: { about: 'what was answered: by a server that was asked about the call, or in the end', fields: ['code', 'headers', 'body'], views: { headers: viewOfHeaders } },
  source: {
    about: 'who connected, and what a client certificate says',
    fields: ['address', 'port', 'rawAddress', 'rawPort', 'identity', 'spiffeId', 'subjectAltNames', 'issuer', 'subject', 'subjectCn', 'certificate', 'connectHeaders'],
    notYet: { unverifiedWorkload: 'Parley knows no workloads' },
    views: { connectHeaders: viewOfHeaders },
  },
  destination: { about: 'what they connected to', fields: ['address', 'port', 'hostname'] },
  jwt: { about: 'the claims of the verified token; rawToken, a secret', views: { rawToken: secret } },
  apiKey: { about: 'the metadata of the key that was used; key, a secret', views: { key: secret } },
  basicAuth: { about: 'who calls', fields: ['username'] },
  extauthz: { about: 'what an external authorization service said about the call' },
  mcp: { about: 'the MCP call', fields: ['methodName', 'sessionId', 'tool', 'prompt', 'resource', 'task'], notYet: { 'tool.result': AFTERWARDS, 'tool.error': AFTERWARDS } },
  backend: { about: 'where the call goes', fields: ['name', 'type', 'protocol'] },
  env: { about: 'where Parley runs', fields: ['podName', 'namespace', 'gateway'] },
  proxy: {
    about: 'where in the configuration the call is',
    fields: ['bind', 'gateway', 'listener', 'route'],
    notYet: { requestProcessingDuration: AFTERWARDS, upstreamDuration: AFTERWARDS, responseProcessingDuration: AFTERWARDS },
  },
  metadata: { about: 'what transformations set for later ones' },
} as const satisfies Record<string, Variable>;

export type VariableName = keyof typeof VARIABLE_TABLE;

const VARIABLES: Readonly<Record<VariableName, Variable>> = VARIABLE_TABLE;

export const VARIABLE_NAMES = Object.keys(VARIABLES) as readonly VariableName[];

export const isVariableName = (name: string): name is VariableName => Object.hasOwn(VARIABLES, name);

/** Variables of the configuration format that Parley has nothing to fill with. */
export const NOT_YET: Readonly<Record<string, string>> = {
  llm: 'Parley does not serve models yet',
  llmRequest: 'Parley does not serve models yet',
  extproc: 'Parley has no external processing yet',
  mcpGuardrails: 'Parley has no guardrails yet',
};

export type FieldProblem = { readonly name: string; readonly why: string } | { readonly of: VariableName; readonly name: string; readonly known: readonly string[] };

/** What is wrong with a path; undefined = it may be there. */
export function fieldProblem([variable, ...fields]: readonly [VariableName, ...string[]]): FieldProblem | undefined {
  const { fields: known, notYet = {} } = VARIABLES[variable];
  const [name] = fields;
  for (const path of [fields.slice(0, 1), fields.slice(0, 2)]) {
    const at = path.join('.');
    const why = Object.hasOwn(notYet, at) ? notYet[at] : undefined;
    if (why !== undefined) return { name: [variable, ...path].join('.'), why };
  }
  return name === undefined || known === undefined || known.includes(name) ? undefined : { of: variable, name, known };
}

/**
 * What an expression runs on: a plain object of JSON values, bytes and Dates. Nothing is copied, and nothing is read that
 * the expression does not name, so a costly field may be a getter.
 */
export type Activation = { readonly [name in VariableName]?: unknown };

/** What several expressions are asked about, one after the other: each variable is read, and a view of it made, once for all of them. */
export class SharedActivation {
  readonly #of: Activation;
  readonly #looked = new Set<VariableName>();
  readonly #values = noValues();

  /** @param of it does not change any more. */
  constructor(of: Activation) {
    this.#of = of;
  }

  /** With these names, and those that were asked for before. */
  valuesFor(names: readonly VariableName[]): Values {
    for (const name of names) {
      if (this.#looked.has(name)) continue;
      look(this.#of, name, this.#values);
      this.#looked.add(name);
    }
    return this.#values;
  }
}

export type Values = Record<string, CelValue>;

export function valuesFor(names: readonly VariableName[], activation: Activation | SharedActivation): Values {
  if (activation instanceof SharedActivation) return activation.valuesFor(names);
  const values = noValues();
  for (const name of names) look(activation, name, values);
  return values;
}

/** No prototype: `constructor` is not a variable. */
const noValues = (): Values => Object.create(null) as Values;

function look(activation: Activation, name: VariableName, into: Values): void {
  const value = Object.hasOwn(activation, name) ? activation[name] : undefined;
  const view = value === undefined ? undefined : viewOfVariable(name, value);
  if (view !== undefined) into[name] = view;
}

/** A variable as the expression sees it. */
function viewOfVariable(name: VariableName, value: unknown): CelValue | undefined {
  const { views } = VARIABLES[name];
  const plain = typeof value === 'object' && value !== null && !Array.isArray(value);
  return plain && views !== undefined ? viewOfObject(value as Readonly<Record<string, unknown>>, views) : celValue(value);
}
