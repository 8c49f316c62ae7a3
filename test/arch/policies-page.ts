/** docs/policies.md: what policies/order.ts says of every policy, and what the README of each that is enforced says of itself. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ORDER, POLICIES, isEnforced } from '#policies/order.ts';
import type { Entry, PolicyId } from '#policies/order.ts';
import type { Phase } from '#policies/policy.ts';
import { REPOSITORY } from './tree.ts';

const PHASES = Object.keys(ORDER) as Phase[];
const ids = Object.keys(POLICIES) as PolicyId[];

/** Throws when a policy that is enforced has no example in docs/examples. */
export function policiesPage(): string {
  const enforced = ids.filter(isEnforced);
  return `${HEAD}
## All of them

| policy | phases | traffic | |
|---|---|---|---|
${[...enforced, ...ids.filter((id) => !enforced.includes(id))].map(rowOf).join('\n')}

## The order

In each phase policies run in this order, and the first that says no ends the call. What is not enforced yet is in brackets.

${PHASES.map((phase) => `- **${phase}**: ${ORDER[phase].map((id) => (isEnforced(id) ? `\`${id}\`` : `(${id})`)).join(', ')}`).join('\n')}

${enforced.map(sectionOf).join('\n')}`;
}

const isConnection = (id: PolicyId): boolean => (POLICIES[id] as Entry).connection === true;

const HEAD = `<!-- Written by \`npm run golden\` from policies/. Change it there. -->
# Policies

What may happen to a call. **gateway**: before a route is chosen, written on a gateway or listener. **route**: after, written on a route or
under \`mcp.policies\`. **backend**: on the way to a backend. A policy that is not enforced yet is refused by name: a configuration that asks for
it is not served without it. Traffic is what a policy is for; of that, Parley serves MCP and plain HTTP so far.
`;

function rowOf(id: PolicyId): string {
  const { traffic }: Entry = POLICIES[id];
  const phases = PHASES.filter((phase) => ORDER[phase].includes(id));
  return `| ${isEnforced(id) ? `[\`${id}\`](#${id.toLowerCase()})` : `\`${id}\``} | ${phases.join(', ')} | ${traffic.join(', ')} | ${isEnforced(id) ? '**enforced**' : 'refused'} |`;
}

function sectionOf(id: PolicyId): string {
  const example = `docs/examples/${id}.yaml`;
  if (!existsSync(join(REPOSITORY, example))) throw new Error(`${id} is enforced and has no ${example}: a configuration to start and try`);
  if (isConnection(id)) return `## ${id}\n\nIt judges no call: it says how servers are reached. What it does, and its keys: [config](config.md#${id.toLowerCase()}). To begin with: [${example}](examples/${id}.yaml).\n`;
  const readme = readFileSync(join(REPOSITORY, 'policies', id, 'README.md'), 'utf8');
  const [name, description] = ['Name', 'Description'].map((heading) => new RegExp(`^## ${heading}\\n\\n([^]*?)\\n(?=^## )`, 'm').exec(readme)?.[1]?.trim());
  if (name === undefined || description === undefined) throw new Error(`policies/${id}/README.md has no Name or no Description`);
  return `## ${id}\n\n${fromDocs(name)}\n\n${fromDocs(description)}\n\nKeys, examples, verdicts: [policies/${id}](../policies/${id}/README.md). To try: [${example}](examples/${id}.yaml).\n`;
}

/** A README's link to a sibling, as it is written from here. */
const fromDocs = (text: string): string => text.replaceAll('](../', '](../policies/');
