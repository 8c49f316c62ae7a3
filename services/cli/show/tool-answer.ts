/** Tools and their answers as plain text. */
import type { CallToolResult, ContentBlock, Tool } from '@modelcontextprotocol/client';
import { plainTable } from './plain-table.ts';

const DESCRIPTION_CHARS_MAX = 80;

/** Text as it is, everything else as one line that says what it is: `--json` has the whole. */
export function answerText(result: CallToolResult): string {
  if (result.content.length === 0 && result.structuredContent !== undefined) return JSON.stringify(result.structuredContent, null, 2);
  return result.content.map(blockText).join('\n');
}

function blockText(block: ContentBlock): string {
  switch (block.type) {
    case 'text':
      return block.text;
    case 'image':
    case 'audio':
      return `[${block.type} ${block.mimeType}, ${Buffer.byteLength(block.data, 'base64')} bytes]`;
    case 'resource_link':
      return `[resource ${block.name} ${block.uri}]`;
    case 'resource':
      return 'text' in block.resource ? block.resource.text : `[resource ${block.resource.uri}, ${Buffer.byteLength(block.resource.blob, 'base64')} bytes]`;
  }
}

export function toolsTable(tools: readonly Tool[]): string {
  if (tools.length === 0) return 'no tools';
  const rows = tools.map((tool) => [tool.name, argumentNames(tool), firstLine(tool.description ?? tool.title ?? '')]);
  return plainTable(['TOOL', 'ARGUMENTS', 'DESCRIPTION'], rows);
}

/** Required ones plain, others with a question mark. */
function argumentNames({ inputSchema }: Tool): string {
  const required = new Set(inputSchema.required);
  return Object.keys(inputSchema.properties ?? {}).map((name) => (required.has(name) ? name : `${name}?`)).join(' ');
}

function firstLine(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? '';
  return line.length <= DESCRIPTION_CHARS_MAX ? line : `${line.slice(0, DESCRIPTION_CHARS_MAX - 1)}…`;
}
