import { Command, Option } from 'commander';
import { DEMONSTRATION_URL, ERAS, httpUrl } from '../arguments.ts';
import type { Era } from '../arguments.ts';
import { print, say } from '../runtime/terminal.ts';
import { pinCommands } from './tool-pins.ts';

export interface ClientOptions {
  readonly url: URL;
  readonly era: Era;
  readonly json?: true;
}

/** The options of every command that is an MCP client. */
export const clientOptions = (command: Command): Command =>
  command
    .addOption(new Option('--url <url>', 'where the MCP server is').argParser(httpUrl).default(new URL(DEMONSTRATION_URL), DEMONSTRATION_URL))
    .addOption(new Option('--era <era>', 'which protocol to speak').choices(ERAS).default('auto'))
    .option('--json', 'print JSON');

export const toolsCommand = (): Command =>
  withPinCommands(clientOptions(new Command('tools')))
    .summary('list the tools an MCP server offers; approve of tools that changed')
    .description('Lists the tools an MCP server offers, by default the one `parley up` serves. Its sub-commands are for tools that are pinned (toolPinning).')
    .addHelpText('after', '\nExamples:\n  $ parley tools --json | jq -r .[].name\n  $ parley tools ls --pending')
    .action(async ({ url, era, json }: ClientOptions) => {
      const { withConversation } = await import('../runtime/mcp-client.ts');
      const { toolsTable } = await import('../show/tool-answer.ts');
      const tools = await withConversation(url, era, (conversation) => {
        say(`connected to ${conversation.server}`);
        return conversation.tools();
      });
      print(json ? JSON.stringify(tools, null, 2) : toolsTable(tools));
    });

/** Options before a sub-command are the client's, those after it are its own. */
function withPinCommands(command: Command): Command {
  command.enablePositionalOptions();
  for (const one of pinCommands()) command.addCommand(one);
  return command;
}
