/** The variables of expressions: everything an expression may begin a path with. */
import type { CelValue } from '@bufbuild/cel';
import { celValue, viewOfObject } from './collections.ts';
import type { FieldViews } from './collections.ts';
import { viewOfHeaders } from './headers.ts';
import { opaque } from './opaque.ts';

interface Variable {
  readonly about: string;
  /** Fields that are not plain JSON. */
  readonly views?: FieldViews;
}

const secret = (value: unknown): CelValue | undefined => (typeof value === 'string' ? opaque({ kind: 'secret', value }) : celValue(value));

const VARIABLE_TABLE = {
  request: { about: 'method, uri, host, scheme, path, pathAndQuery, version, headers, body', views: { headers: viewOfHeaders } },
  response: { about: 'what a server that was asked answered: code, headers, body', views: { headers: viewOfHeaders } },
  source: { about: 'who connected: address, port, and what a client certificate says', views: { connectHeaders: viewOfHeaders } },
  destination: { about: 'what they connected to: address, port, hostname' },
  jwt: { about: 'the claims of the verified token; rawToken, a secret', views: { rawToken: secret } },
  apiKey: { about: 'the metadata of the key that was used; key, a secret', views: { key: secret } },
  basicAuth: { about: 'username' },
  extauthz: { about: 'what an external authorization service said about the call' },
  mcp: { about: 'methodName, sessionId, and one of tool{target,name,arguments}, prompt{target,name}, resource{target,name}, task{target,name}' },
  backend: { about: 'name, type, protocol' },
  env: { about: 'podName, namespace, gateway' },
  proxy: { about: 'bind, gateway, listener, route: where in the configuration the call is' },
  metadata: { about: 'what earlier policies set for later ones' },
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

/**
 * What an expression runs on: a plain object of JSON values, bytes and Dates. Nothing is copied, and nothing is read that
 * the expression does not name, so a costly field may be a getter.
 */
export type Activation = { readonly [name in VariableName]?: unknown };

/** A variable as the expression sees it. */
export function viewOfVariable(name: VariableName, value: unknown): CelValue | undefined {
  const { views } = VARIABLES[name];
  const plain = typeof value === 'object' && value !== null && !Array.isArray(value);
  return plain && views !== undefined ? viewOfObject(value as Readonly<Record<string, unknown>>, views) : celValue(value);
}
