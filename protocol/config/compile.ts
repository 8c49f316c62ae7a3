/**
 * A document becomes a generation, or a list of reasons why not. Four steps, each usable alone:
 *
 *   expand (expand.ts) → validate (validate.ts) → backends (compile-backends.ts) → binds (compile-binds.ts)
 *
 * C1 The same document gives the same generation id in every process, whatever its environment, and whatever of it is for
 *    that process.
 * C2 Messages quote the document as written, never what a variable held.
 * C3 Any error means no generation: there is no half-accepted configuration.
 */
import type { z } from 'zod';
import { withAccessLog } from './access-log.ts';
import type { Callout } from './callout.ts';
import { compileBackends } from './compile-backends.ts';
import { compileBinds } from './compile-binds.ts';
import { callsOut, compileCallout, compileTunnel, withCallouts, type Known as KnownServers } from './compile-callouts.ts';
import { isConnectionPolicy } from './compile-connection.ts';
import { compileServices } from './compile-services.ts';
import type { Compiling } from './compiling.ts';
import type { GatewayDocument } from './document.ts';
import { parseDuration } from './duration.ts';
import { expandVariables } from './expand.ts';
import type { Environment } from './expand.ts';
import type { Generation, Settings } from './generation.ts';
import { issueProblems } from './issues.ts';
import { generationId } from './keys.ts';
import { type Language, languageOf, speaking } from './language.ts';
import { hasErrors, pathText, problem, valueAt } from './problem.ts';
import type { Path, ProblemWithoutPosition } from './problem.ts';
import { type RequestExpression, requestExpressions } from './request-expressions.ts';
import { openPaths } from './secret-paths.ts';
import { traceSettings } from './tracing.ts';
import { type Written, validateDocument } from './validate.ts';

const SESSION_TTL_MS = 30 * 60 * 1000;

/** Each policy's own schema, by config key. A policy without one here is handed on as it is and checked where its chain is compiled. */
export type PolicySchemas = Readonly<Record<string, z.ZodType>>;

export interface CompileOptions {
  readonly env: Environment;
  readonly policies?: PolicySchemas;
  /** Of the document as the operator wrote it; absent = this is that. */
  readonly id?: string;
  /** What is not for this process, by `withheldFrom`: its variables are not looked up, and it is forgotten. */
  readonly withheld?: (path: Path) => string | undefined;
}

export interface Compilation {
  readonly generation?: Generation;
  readonly problems: ProblemWithoutPosition[];
  /** Nothing here knows their language. */
  readonly expressions?: readonly RequestExpression[];
}

export function compileDocument(document: unknown, options: CompileOptions): Compilation {
  const { document: expandedDocument, problems, expanded } = expandVariables(document, options.env, options.withheld);
  const validation = validateDocument(expandedDocument, { written: document, expanded });
  problems.push(...validation.problems);
  if (validation.document === undefined || hasErrors(problems)) return { problems };

  const valid = validation.document;
  const expressions = new Map<string, RequestExpression>();
  const authorizers = new Map<string, Callout>();
  const compiling = newCompiling({ written: document, expanded }, { schemas: options.policies ?? {}, valid }, { problems, expressions, authorizers, document: expandedDocument });
  const language = languageOf(valid);
  return speaking(language, () => compileValid({ id: options.id ?? generationId(document), valid, language, compiling, problems, expressions, authorizers }));
}

interface Valid {
  readonly id: string;
  readonly valid: GatewayDocument;
  readonly language: Language | undefined;
  readonly compiling: Compiling;
  readonly problems: ProblemWithoutPosition[];
  readonly expressions: ReadonlyMap<string, RequestExpression>;
  readonly authorizers: ReadonlyMap<string, Callout>;
}

function compileValid({ id, valid, language, compiling, problems, expressions, authorizers }: Valid): Compilation {
  const backends = compileBackends(valid, compiling);
  const binds = compileBinds(valid, backends, compiling);
  // Its schema is with those of the policies, which call what is defined there.
  compiling.policies({ customFunctions: valid.config?.customFunctions }, ['config']);
  const { connect: _, tracing: __, ...frontendPolicies } = withAccessLog(valid, compiling);
  if (binds.length === 0) compiling.warn([], 'nothing is served: no gateways, binds or mcp section');
  if (hasErrors(problems)) return { problems };
  return {
    generation: {
      id,
      binds,
      backends: backends.byKey,
      ...(authorizers.size === 0 ? {} : { authorizers }),
      ...(Object.keys(frontendPolicies).length === 0 ? {} : { frontendPolicies }),
      ...(language === undefined ? {} : { language }),
      settings: settingsOf(valid),
      warnings: problems.map((one) => (one.path === '' ? one.message : `${one.path}: ${one.message}`)),
    },
    problems,
    expressions: [...expressions.values()],
  };
}

interface Known {
  readonly schemas: PolicySchemas;
  readonly valid: GatewayDocument;
}

/** What is found out on the way. */
interface Found {
  readonly problems: ProblemWithoutPosition[];
  readonly expressions: Map<string, RequestExpression>;
  readonly authorizers: Map<string, Callout>;
  /** With the values of variables. */
  readonly document: unknown;
}

function newCompiling({ written, expanded }: Written, { schemas, valid }: Known, { problems, expressions, authorizers, document }: Found): Compiling {
  /** A backend that several routes reach in their own ways is compiled for each; what is wrong with it is said once. */
  const told = new Set<string>();
  const tell = (one: ProblemWithoutPosition): void => {
    const text = `${one.path} ${one.message}`;
    if (!told.has(text)) problems.push(one);
    told.add(text);
  };
  const secret = (path: Path): void => {
    if (expanded.has(pathText(path))) return;
    tell(problem('warning', path, 'a secret stands in the document itself, for everybody who may read the configuration in NATS: write $NAME for a variable'));
  };
  const compiling: Compiling = {
    error: (path, message, hint) => tell(problem('error', path, message, hint)),
    warn: (path, message) => tell(problem('warning', path, message)),
    quote: (path) => String(valueAt(written, path) ?? ''),
    written: (path) => valueAt(written, path),
    secret,
    expressions(path) {
      for (const one of requestExpressions(valueAt(document, path), path)) expressions.set(pathText(one.path), one);
    },
    policies(value, path) {
      const given = Object.entries(value ?? {}).filter(([id, config]) => config !== undefined && config !== null && !isConnectionPolicy(id));
      for (const [id, config] of given) {
        for (const place of openPaths(valueAt(written, [...path, id]), [...path, id])) secret(place);
        const schema = Object.hasOwn(schemas, id) ? schemas[id] : undefined;
        const result = schema?.safeParse(config);
        if (schema !== undefined && result?.success === false) {
          problems.push(...issueProblems(result.error.issues, schema, valueAt(written, [...path, id]), []).map((one) => inside([...path, id], one)));
        }
      }
      return Object.fromEntries(given.map(([id, config]) => [id, callsOut(id) ? withCallouts(config, [...path, id], servers) : config]));
    },
    callout: (one, at) => compileCallout(one, at, servers),
    tunnel: (one, path) => compileTunnel(one, path, servers),
    service: (ref, path) => servers.services(ref, path),
  };
  const servers: KnownServers = { backends: valid.backends ?? [], services: compileServices(valid, compiling), compiling, authorizers };
  return compiling;
}

/** A policy's schema speaks of paths from its own root; here they get the place of the policy in front. */
function inside(base: Path, one: ProblemWithoutPosition): ProblemWithoutPosition {
  const prefix = problem(one.severity, base, one.message, one.hint);
  if (one.path === '') return prefix;
  return { ...prefix, path: one.path.startsWith('[') ? `${prefix.path}${one.path}` : `${prefix.path}.${one.path}` };
}

function settingsOf(document: GatewayDocument): Settings {
  const config = document.config ?? {};
  const ttl = config.mcp?.sessionTtl;
  const level = config.logging?.level;
  return {
    sessionTtlMs: (ttl == null ? undefined : parseDuration(ttl)) ?? SESSION_TTL_MS,
    ...(config.session == null ? {} : { sessionKey: config.session.key }),
    statsAddr: config.statsAddr ?? undefined,
    readinessAddr: config.readinessAddr ?? undefined,
    logLevel: Array.isArray(level) ? level.join(',') : (level ?? undefined),
    logFormat: config.logging?.format ?? undefined,
    ...(document.frontendPolicies?.tracing == null ? {} : { tracing: traceSettings(document.frontendPolicies.tracing) }),
    ...(config.spiffe?.endpoint == null ? {} : { spiffeEndpoint: config.spiffe.endpoint }),
  };
}
