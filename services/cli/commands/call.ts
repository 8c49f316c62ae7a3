import { Command } from 'commander';
import type { CallToolResult, Tool } from '@modelcontextprotocol/client';
import { didYouMean, toolArguments } from '../arguments.ts';
import { CommandError } from '../core/exit.ts';
import { print, say } from '../runtime/terminal.ts';
import { clientOptions } from './tools.ts';
import type { ClientOptions } from './tools.ts';

export const callCommand = (): Command =>
  clientOptions(new Command('call'))
    .summary('call one tool')
    .description('Calls one tool and prints what it answers. Progress goes to stderr.')
    .argument('<tool>', 'name of the tool, as `parley tools` shows it')
    .argument('[json]', 'the arguments, as a JSON object')
    .addHelpText('after', `\nExample:\n  $ parley call echo '{"message":"hi"}'`)
    .action(async (name: string, json: string | undefined, options: ClientOptions) => {
      const args = toolArguments(json);
      const { withConversation } = await import('../runtime/mcp-client.ts');
      const { answerText } = await import('../show/tool-answer.ts');
      const result = await withConversation(options.url, options.era, async (conversation): Promise<CallToolResult> => {
        say(`connected to ${conversation.server}`);
        return conversation.call(find(name, await conversation.tools(), options.url), args);
      });
      print(options.json ? JSON.stringify(result, null, 2) : answerText(result));
      if (result.isError) throw new CommandError(`the tool ${name} answered with an error`);
    });

function find(name: string, tools: readonly Tool[], url: URL): Tool {
  const tool = tools.find((each) => each.name === name);
  if (tool !== undefined) return tool;
  const near = didYouMean(name, tools.map((each) => each.name));
  throw new CommandError(`no tool '${name}' at ${url.href}${near === undefined ? '' : ` (did you mean ${near}?)`}; \`parley tools\` lists all ${tools.length}`);
}
