/** What is answered for a name that nobody has, and for all that is to look like one. */
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Request } from '#protocol/mcp/message.ts';

/** The code of "no such tool" and "no such resource" (MCP 2025-11-25 "Error handling"; 2026-07-28 drops -32002). */
export function unknown({ request: { method, params } }: { readonly request: Request }): Fault {
  if (method === 'tools/call') return new Fault('invalid', `Unknown tool: ${String(params?.['name'])}`, { rpc: String(CODE.invalidParams) });
  if (method === 'prompts/get') return new Fault('invalid', `Unknown prompt: ${String(params?.['name'])}`, { rpc: String(CODE.invalidParams) });
  if (typeof params?.['uri'] === 'string') {
    return new Fault('invalid', `Resource not found: ${params['uri']}`, { rpc: String(CODE.invalidParams), uri: params['uri'] });
  }
  if (method === 'completion/complete') return new Fault('invalid', 'Unknown prompt or resource', { rpc: String(CODE.invalidParams) });
  return new Fault('invalid', `Method not found: ${method}`, { rpc: String(CODE.methodNotFound) });
}
