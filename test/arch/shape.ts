/**
 * The shape of files, judged on their syntax tree, so that a comment or a string cannot raise a false alarm. Each rule
 * takes one file and gives back what is wrong with it and what to do.
 */
import { basename } from 'node:path';
import { parseSync } from '@swc/core';
import type { SourceFile } from './tree.ts';

export const FILE_LINES_MAX = 300;

const isTest = (path: string): boolean => path.endsWith('.test.ts') || path.startsWith('test/');
const FORBIDDEN_SEGMENTS = new Set(['utils', 'util', 'common', 'shared', 'helpers', 'helper']);
const FORBIDDEN_FILES = new Set(['types.ts', 'constants.ts', ...[...FORBIDDEN_SEGMENTS].map((name) => `${name}.ts`)]);
const SUBJECT = /^(parley|audit)\.(?!(js|ts|json|ya?ml|log|lock|pid|md)$)/;

function tooLong({ path, text }: SourceFile): string[] {
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
  if (isTest(path) || lines <= FILE_LINES_MAX) return [];
  return [`${path}: ${lines} lines, limit ${FILE_LINES_MAX}: split it by what its parts are about`];
}

function forbiddenName({ path }: SourceFile): string[] {
  const bad = FORBIDDEN_FILES.has(basename(path)) || path.split('/').slice(0, -1).some((segment) => FORBIDDEN_SEGMENTS.has(segment));
  return bad ? [`${path}: the name says nothing: put each thing with what it is about`] : [];
}

interface SyntaxNode {
  readonly type: string;
  readonly [key: string]: unknown;
}

const isNode = (value: unknown): value is SyntaxNode => typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string';

function* walk(value: unknown): Generator<SyntaxNode> {
  if (isNode(value)) yield value;
  if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) yield* walk(part);
}

const nodes = (file: SourceFile): SyntaxNode[] => [...walk(parseSync(file.text, { syntax: 'typescript', target: 'esnext' }).body)];

/** The text a string or template literal starts with. */
function literalStart(node: SyntaxNode): string | undefined {
  if (node.type === 'StringLiteral') return node['value'] as string;
  if (node.type !== 'TemplateLiteral') return undefined;
  const first = (node['quasis'] as SyntaxNode[])[0];
  return first?.['raw'] as string | undefined;
}

function straySubject(file: SourceFile): string[] {
  if (isTest(file.path) || file.path.startsWith('protocol/')) return [];
  const found = nodes(file).map(literalStart).filter((text) => text !== undefined && SUBJECT.test(text));
  return found.map((text) => `${file.path}: subject '${text}': use .to(), .filter or .parse of its contract in protocol/`);
}

const isIdentifier = (value: unknown, name: string): boolean => isNode(value) && value.type === 'Identifier' && value['value'] === name;

function strayEnvironment(file: SourceFile): string[] {
  const reader = basename(file.path) === 'settings.ts' || file.path.endsWith('.settings.ts') || file.path.startsWith('services/cli/');
  if (isTest(file.path) || reader) return [];
  const reads = nodes(file).some((node) => readsEnvironment(node));
  return reads ? [`${file.path}: reads the environment: let settings.ts turn it into typed settings, and take those`] : [];
}

function readsEnvironment(node: SyntaxNode): boolean {
  if (node.type === 'ImportDeclaration' && /^(node:)?process$/.test((node['source'] as SyntaxNode)['value'] as string)) {
    return (node['specifiers'] as SyntaxNode[]).some((each) => isIdentifier(each['imported'] ?? each['local'], 'env'));
  }
  if (node.type === 'VariableDeclarator') {
    const properties = isNode(node['id']) && node['id'].type === 'ObjectPattern' ? (node['id']['properties'] as SyntaxNode[]) : [];
    return isIdentifier(node['init'], 'process') && properties.some((each) => isIdentifier(each['key'], 'env'));
  }
  if (node.type !== 'MemberExpression') return false;
  const property = node['property'];
  const named = isIdentifier(property, 'env') || (isNode(property) && isNode(property['expression']) && property['expression']['value'] === 'env');
  return named && isIdentifier(node['object'], 'process');
}

function defaultExport(file: SourceFile): string[] {
  const found = nodes(file).some(
    (node) =>
      node.type === 'ExportDefaultDeclaration' ||
      node.type === 'ExportDefaultExpression' ||
      (node.type === 'ExportSpecifier' && isIdentifier(node['exported'], 'default')),
  );
  return found ? [`${file.path}: default export: name it, so that it is called the same everywhere`] : [];
}

export const SHAPE_RULES = { tooLong, forbiddenName, straySubject, strayEnvironment, defaultExport } as const;
