/**
 * Who may import whom, as dependency-cruiser rules. Each rule's comment tells the offender what to do.
 *
 *   protocol <- policies <- services/*        deploy <- services/*        services/host: the one shared runtime
 */
import { readdirSync } from 'node:fs';
import { cruise } from 'dependency-cruiser';
import type { ICruiseResult, IForbiddenRuleType } from 'dependency-cruiser';

export const ROOTS = ['protocol', 'policies', 'services', 'deploy'] as const;

const TEST = '[.]test[.]ts$';
const CORE = '^services/[^/]+/core/';
/** Where Effect is at home: the rim. */
const RIM = '^services/(host|cli)/|^services/[^/]+/(main[.]ts$|runtime/)';
const PURE_NODE = '^(node:)?(crypto|buffer)$';

const npm = (...names: readonly string[]): string => `node_modules/(${names.join('|')})/`;

export const RULES: IForbiddenRuleType[] = [
  {
    name: 'everything-resolves',
    severity: 'error',
    comment: 'The import points nowhere: correct the path (relative, or #protocol/ #policies/ #host/ #deploy/, ending in .ts).',
    from: {},
    to: { couldNotResolve: true, pathNot: '^node:' },
  },
  {
    name: 'nothing-imports-test',
    severity: 'error',
    comment: 'test/ is not shipped: move what you need beside the code it is about.',
    from: { pathNot: `${TEST}|^test/` },
    to: { path: '^test/' },
  },
  {
    name: 'protocol-stands-alone',
    severity: 'error',
    comment: 'protocol/ is what crosses a process boundary and depends on nothing of ours: move the imported part into protocol/, or pass it in.',
    from: { path: '^protocol/', pathNot: TEST },
    to: { path: '^(policies|services|deploy|test)/' },
  },
  {
    name: 'protocol-packages',
    severity: 'error',
    comment: 'protocol/ may use zod, yaml, fastest-levenshtein and @modelcontextprotocol/core: do the rest where it is used.',
    from: { path: '^protocol/', pathNot: TEST },
    to: { path: 'node_modules/', pathNot: npm('zod', 'yaml', 'fastest-levenshtein', '@modelcontextprotocol/core') },
  },
  {
    name: 'policies-judge-only',
    severity: 'error',
    comment: 'A policy sees a call and its deps: add what it needs to `deps` in policies/policy.ts and let the service provide it.',
    from: { path: '^policies/', pathNot: TEST },
    to: { path: '^(services|deploy|test)/' },
  },
  {
    name: 'policies-packages',
    severity: 'error',
    comment: 'A policy does no I/O. A pure package it truly needs is added here, in review.',
    from: { path: '^policies/(?!cel/)', pathNot: TEST },
    to: { path: 'node_modules/', pathNot: npm('zod', 'bcrypt', 'jose') },
  },
  {
    name: 'expressions-packages',
    severity: 'error',
    comment: 'The language of rules is the only place that knows CEL\'s library, and does no I/O either.',
    from: { path: '^policies/cel/', pathNot: TEST },
    to: { path: 'node_modules/', pathNot: npm('@bufbuild/(?:cel|protobuf|re2)', 'ipaddr.js', 'fastest-levenshtein') },
  },
  {
    name: 'services-meet-on-subjects',
    severity: 'error',
    comment: 'Services do not import each other: define a subject in protocol/subjects and send to it. Runtime code for all of them lives in services/host.',
    from: { path: '^services/(?!cli/)([^/]+)/' },
    to: { path: '^services/', pathNot: '^services/($1|host)/' },
  },
  {
    name: 'services-deploy-nats-only',
    severity: 'error',
    comment: 'Of deploy/ only nats/ (streams, buckets, users as data) is for code.',
    from: { path: '^services/' },
    to: { path: '^deploy/', pathNot: '^deploy/nats/' },
  },
  {
    name: 'deploy-is-data',
    severity: 'error',
    comment: 'deploy/ describes what is deployed, from the contracts in protocol/: applying it belongs in a service.',
    from: { path: '^deploy/', pathNot: TEST },
    to: { path: '^(policies|services|test)/' },
  },
  {
    name: 'pure-code-no-node',
    severity: 'error',
    comment: 'Values in, values out: node:crypto and node:buffer only. Do the I/O in runtime/ and pass its result in.',
    from: { path: `^(protocol|policies)/|${CORE}`, pathNot: TEST },
    to: { dependencyTypes: ['core'], pathNot: PURE_NODE },
  },
  {
    name: 'core-packages',
    severity: 'error',
    comment: 'core/ may use xstate and zod: anything else belongs in runtime/.',
    from: { path: CORE, pathNot: TEST },
    to: { path: 'node_modules/', pathNot: npm('xstate', 'zod') },
  },
  {
    name: 'core-stays-inside',
    severity: 'error',
    comment: 'core/ knows protocol, policies and itself: let runtime/ call it, not the other way round.',
    from: { path: '^services/([^/]+)/core/', pathNot: TEST },
    to: { path: '^(services|deploy)/', pathNot: '^services/$1/core/' },
  },
  {
    name: 'effect-at-the-rim',
    severity: 'error',
    comment: 'Effect lives in main.ts, runtime/, services/host and services/cli: elsewhere write plain functions.',
    from: { path: '^(protocol|policies|services|deploy)/', pathNot: `${RIM}|${TEST}` },
    to: { path: npm('effect', '@effect/[^/]+') },
  },
];

export async function cruiseTree(baseDir: string): Promise<ICruiseResult> {
  const present = new Set(readdirSync(baseDir));
  const { output } = await cruise(ROOTS.filter((root) => present.has(root)), {
    baseDir,
    parser: 'swc', // the TypeScript 7 package has no compiler API; without swc nothing would be cruised, and nothing complained
    tsPreCompilationDeps: true, // type imports count: they are coupling too
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'], extensions: ['.ts', '.js'] },
    validate: true,
    ruleSet: { forbidden: RULES },
  });
  if (typeof output === 'string') throw new Error('dependency-cruiser gave text instead of a result');
  return output;
}

/** `rule: from -> to`, with what to do about it. */
export function violations(result: ICruiseResult): string[] {
  const advice = new Map(RULES.map((rule) => [rule.name, rule.comment]));
  return result.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}\n  ${advice.get(rule.name) ?? ''}`);
}
