import { Command } from 'commander';
import { usageError } from '../core/exit.ts';

const HASH = /^[0-9a-f]{8,64}$/;

interface PlaceOptions {
  readonly json?: true;
  readonly data?: string;
}

interface ListOptions extends PlaceOptions {
  readonly pending?: true;
}

interface ApproveOptions extends PlaceOptions {
  readonly all?: true;
  readonly hash?: string;
}

/** Of servers whose tools may not change unnoticed (toolPinning). */
export const pinCommands = (): readonly Command[] => [lsCommand(), showCommand(), approveCommand()];

const withData = (command: Command): Command => command.option('--data <dir>', 'data directory of the `parley up` to ask, when NATS_URL is not set');

const TARGET = 'name of the target, or backend/target where several have that name';

const lsCommand = (): Command =>
  withData(new Command('ls'))
    .summary('list the tools that are pinned, that changed, and that are new')
    .description('Prints one line for each tool of targets with toolPinning, from their records in NATS.')
    .argument('[target]', TARGET)
    .option('--pending', 'only those that wait for an approval')
    .option('--json', 'print one JSON object per line')
    .addHelpText('after', '\nExample:\n  $ parley tools ls --pending')
    .action(async (target: string | undefined, { pending, json, data }: ListOptions) => {
      const { listPinned } = await import('../runtime/tool-pins.ts');
      await listPinned({ target, pending: pending === true, json: json === true, dataDir: data });
    });

const showCommand = (): Command =>
  withData(new Command('show'))
    .summary('print the definition of a pinned tool, and what changed in it')
    .description('Prints what is pinned of a tool and, when its server shows something else, the difference. Characters that cannot be seen are written as \\u{…}.')
    .argument('<target>', TARGET)
    .argument('<tool>', 'as the target names it')
    .option('--json', 'print both definitions as JSON')
    .addHelpText('after', '\nExample:\n  $ parley tools show files read_file')
    .action(async (target: string, tool: string, { json, data }: PlaceOptions) => {
      const { showPinned } = await import('../runtime/tool-pins.ts');
      await showPinned({ target, tool, json: json === true, dataDir: data });
    });

const approveCommand = (): Command =>
  withData(new Command('approve'))
    .summary('pin what a server shows now')
    .description('Pins tools as their target showed them last: they are served at every connector within a second. With --hash, that definition and no other.')
    .argument('<target>', TARGET)
    .argument('[tools...]', 'as the target names them')
    .option('--all', 'all of the target that wait')
    .option('--hash <hash>', 'the definition that is meant, as `parley tools show` has it: the beginning of its hash')
    .option('--json', 'print one JSON object per tool')
    .addHelpText('after', '\nExamples:\n  $ parley tools approve files read_file --hash 3f2a9c0d41b7\n  $ parley tools approve files --all')
    .action(async (target: string, tools: readonly string[], { all, hash, json, data }: ApproveOptions) => {
      if ((tools.length > 0) === (all === true)) throw usageError('name the tools to approve of, or say --all');
      if (hash !== undefined && tools.length !== 1) throw usageError('--hash is for one tool');
      if (hash !== undefined && !HASH.test(hash)) throw usageError('--hash is 8 to 64 hex digits');
      const { approvePinned } = await import('../runtime/tool-pins.ts');
      await approvePinned({ target, tools, hash, json: json === true, dataDir: data });
    });
