/** docs/config.md, out of the schema that judges configurations. That a key exists is said there, and what it means in config-meanings.ts. */
import { z } from 'zod';
import { implemented } from '#policies/order.ts';
import { documentSchema } from '#protocol/config/document.ts';
import { NOT_ACTED_ON } from '#protocol/config/unsupported.ts';
import { explained, meaningOf } from './config-meanings.ts';
import { SECTIONS, type Section } from './config-sections.ts';

interface Shape {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  readonly enum?: readonly string[];
  readonly required?: readonly string[];
  /** protocol/config/section.ts says so. */
  readonly refused?: true;
}

const schema = z.toJSONSchema(documentSchema, { unrepresentable: 'any', io: 'input' }) as Shape;
/** Described once, whoever has them. */
const DESCRIBED_APART: ReadonlySet<string> = new Set([
  'backendTLS', 'backendAuth', 'policies.http', 'policies.tcp', 'location', 'source', 'authorizationLocation', 'clientAuth', 'service', 'backendTunnel', 'crossAppAccess.identityProvider.policies', 'crossAppAccess.resourceAuthorizationServer.policies',
]);
const OWN = new Set(SECTIONS.map(({ at }) => at.join('.')).filter((at) => at !== ''));

/** Keys whose section is told once, wherever they are. */
const LINKED: ReadonlySet<string> = new Set(['mcp', 'tls']);

/** Throws when a key has no meaning here, or a meaning no key. */
export function configReference(): string {
  const used = new Set<string>();
  const parts = SECTIONS.map((section) => sectionText(section, used));
  const unused = explained.filter((key) => !used.has(key));
  if (unused.length > 0) throw new Error(`test/arch/config-meanings.ts explains keys that are gone: ${unused.join(', ')}`);
  return `${HEAD}\n${parts.join('\n')}`;
}

const HEAD = `<!-- Written by \`npm run golden\` from protocol/config. Change it there. -->
# The configuration file

YAML or JSON, in the format of agentgateway. \`parley check -f file\` says whether a file is valid, and \`parley up -f file\` takes changes
up while it runs. A key that is in no table here is an error with its line; so is a key Parley knows and does not serve yet
(**refused** below): a gateway that skips a rule is worse than one that does not start. \`$NAME\`, \`\${NAME}\` and \`\${NAME:-default}\` in a
value stand for a variable of the environment; \`$$\` is a dollar. Durations are written like \`500ms\`, \`10s\` or \`1m30s\`.
`;

function sectionText({ title, at, intro }: Section, used: Set<string>): string {
  const { rows, refused } = rowsOf(find(schema, at), title, at);
  for (const { id } of rows) used.add(id);
  const lines = rows.map(({ id, key, kind, required }) => `| \`${key}\` | ${kind}${required ? ', required' : ''} | ${meaningOf(id)} |`);
  const missing = rows.filter(({ id }) => meaningOf(id) === undefined);
  if (missing.length > 0) throw new Error(`test/arch/config-meanings.ts does not explain ${missing.map(({ id }) => id).join(', ')}`);
  const refusals = refused.length === 0 ? '' : `\nRefused: ${refused.map((key) => `\`${key}\``).join(', ')}.\n`;
  const said = intro.replace('LATER', NOT_ACTED_ON.map((key) => `\`${key}\``).join(', '));
  return `## ${title}\n\n${said}\n\n| key | value | meaning |\n|---|---|---|\n${lines.join('\n')}\n${refusals}`;
}

interface Row {
  readonly id: string;
  readonly key: string;
  readonly kind: string;
  readonly required: boolean;
}

function rowsOf(shape: Shape, title: string, at: readonly string[], prefix = ''): { rows: Row[]; refused: string[] } {
  const rows: Row[] = [];
  const refused: string[] = [];
  for (const [name, one] of Object.entries(shape.properties ?? {})) {
    const key = `${prefix}${name}`;
    if (title === 'config' && NOT_ACTED_ON.some((later) => later === key)) continue;
    const inner = notNull(one);
    const own = DESCRIBED_APART.has(name) || DESCRIBED_APART.has(key) || Object.hasOwn(implemented, name) || OWN.has([...at, ...key.split('.')].join('.'));
    if (one.refused === true) refused.push(key);
    else if (inner.properties !== undefined && !own && !LINKED.has(name) && hasServed(inner)) nest(inner, key);
    else if (inner.properties !== undefined && !own && (title === 'targets' || title === 'config')) nest(inner, key);
    else rows.push({ id: `${title}.${key}`, key, kind: kindOf(one), required: shape.required?.includes(name) ?? false });
  }
  return { rows, refused };

  function nest(inner: Shape, key: string): void {
    const below = rowsOf(inner, title, at, `${key}.`);
    rows.push(...below.rows);
    refused.push(...below.refused);
  }
}

const hasServed = (shape: Shape): boolean => Object.values(shape.properties ?? {}).some(({ refused }) => refused !== true);

function find(from: Shape, at: readonly string[]): Shape {
  let shape = from;
  for (const step of at) {
    const next = step === '[]' ? shape.items : step === '*' ? (shape.additionalProperties as Shape) : shape.properties?.[step];
    if (next === undefined) throw new Error(`test/arch/config-meanings.ts looks for ${at.join('.')}, which is gone`);
    shape = notNull(next);
  }
  return shape;
}

/** Nearly every key may be null, which is the same as leaving it out. */
function notNull(shape: Shape): Shape {
  const rest = shape.anyOf?.filter((one) => one.type !== 'null');
  return rest?.length === 1 ? notNull(rest[0] as Shape) : shape;
}

function kindOf(one: Shape): string {
  const shape = notNull(one);
  if (shape.enum !== undefined) return shape.enum.map((value) => `\`${value}\``).join(', ');
  if (shape.anyOf !== undefined) return [...new Set(shape.anyOf.filter(({ type }) => type !== 'null').map(kindOf))].join(' or ');
  if (shape.type === 'array') return `list of ${kindOf(shape.items ?? {})}`;
  if (shape.type === 'object' || shape.type === undefined) return shape.properties === undefined && shape.type === 'object' ? 'map' : 'section';
  const [type = ''] = [shape.type].flat().filter((name) => name !== 'null');
  return { string: 'text', integer: 'number', boolean: 'true or false' }[type] ?? type;
}
