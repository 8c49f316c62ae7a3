import { Command, Option } from 'commander';
import { DEMONSTRATION_URL, ERAS, httpUrl } from '../arguments.ts';
import type { Era } from '../arguments.ts';
import { print, say } from '../runtime/terminal.ts';

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
  clientOptions(new Command('tools'))
    .summary('list the tools an MCP server offers')
    .description('Lists the tools an MCP server offers, by default the one `parley up` serves.')
    .addHelpText('after', '\nExample:\n  $ parley tools --json | jq -r .[].name')
    .action(async ({ url, era, json }: ClientOptions) => {
      const { withConversation } = await import('../runtime/mcp-client.ts');
      const { toolsTable } = await import('../show/tool-answer.ts');
      const tools = await withConversation(url, era, (conversation) => {
        say(`connected to ${conversation.server}`);
        return conversation.tools();
      });
      print(json ? JSON.stringify(tools, null, 2) : toolsTable(tools));
    });
