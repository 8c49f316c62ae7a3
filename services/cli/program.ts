/** All commands of `parley`. */
import { Command } from 'commander';
import { auditCommand } from './commands/audit.ts';
import { callCommand } from './commands/call.ts';
import { checkCommand } from './commands/check.ts';
import { natsCommand } from './commands/nats.ts';
import { runCommand } from './commands/run.ts';
import { sessionsCommand } from './commands/sessions.ts';
import { toolsCommand } from './commands/tools.ts';
import { upCommand } from './commands/up.ts';
import { VERSION } from './version.ts';

export function program(): Command {
  const parley = new Command('parley')
    .description('A gateway for agent traffic: MCP servers behind ingress, policy, session and connector services that meet on NATS.')
    .version(`parley ${VERSION} (node ${process.versions.node})`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    // Or the options of a command could not be told from those of its sub-commands.
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES);
  for (const command of [upCommand(), runCommand(), checkCommand(), natsCommand(), toolsCommand(), callCommand(), auditCommand(), sessionsCommand()]) {
    parley.addCommand(command);
  }
  strict(parley);
  return parley;
}

const EXAMPLES = `
Examples:
  $ parley up                              everything in one process, with a demonstration server
  $ parley call echo '{"message":"hi"}'    from a second terminal
  $ parley up -f config.yaml               with your own configuration

Exit codes: 0 done, 1 it failed or the answer is no, 2 the command line is wrong.`;

/** addCommand does not hand these on, and a mistake below `parley nats` deserves the same answer as one above it. */
function strict(command: Command): void {
  command.exitOverride().showSuggestionAfterError().showHelpAfterError(`\nSee ${path(command)} --help`);
  for (const child of command.commands) strict(child);
}

const path = (command: Command): string => (command.parent === null ? command.name() : `${path(command.parent)} ${command.name()}`);
