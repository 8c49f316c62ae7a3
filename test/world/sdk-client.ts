/** What tests do with a client of the SDK. */
import type { Client } from '@modelcontextprotocol/client';

/** The text a tool answers. @throws Error when it is anything else. */
export async function callText(client: Client, name: string, args: Record<string, unknown> = {}): Promise<string> {
  const { content } = await client.callTool({ name, arguments: args });
  const [first] = content;
  if (first?.type !== 'text') throw new Error(`${name} answered without text`);
  return first.text;
}
