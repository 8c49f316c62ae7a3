import { Command, InvalidArgumentError } from 'commander';
import { since } from '../arguments.ts';
import { usageError } from '../core/exit.ts';

/** Of an id: less names too many. */
const PREFIX_CHARS_MIN = 4;
const LIMIT_MAX = 1_000_000;

interface ListOptions {
  readonly principal?: string;
  readonly route?: string;
  readonly older?: number;
  readonly limit?: number;
  readonly json?: true;
  readonly data?: string;
}

interface ShowOptions {
  readonly full?: true;
  readonly json?: true;
  readonly data?: string;
}

interface KillOptions {
  readonly principal?: string;
  readonly all?: true;
  readonly yes?: true;
  readonly json?: true;
  readonly data?: string;
}

export const sessionsCommand = (): Command =>
  new Command('sessions')
    .summary('list, show and end the sessions of clients')
    .description('Works on the records of legacy MCP sessions, in NATS; no session is loaded by being looked at.')
    .addCommand(lsCommand())
    .addCommand(showCommand())
    .addCommand(killCommand())
    .addHelpText('after', '\nExample:\n  $ parley sessions ls --older 10m');

const withData = (command: Command): Command => command.option('--data <dir>', 'data directory of the `parley up` to ask, when NATS_URL is not set');

const lsCommand = (): Command =>
  withData(new Command('ls'))
    .summary('list open sessions')
    .description('Prints one line for each open session, those written to least recently first.')
    .option('--principal <principal>', 'only those of this principal')
    .option('--route <key>', 'only those of this route')
    .option('--older <duration>', 'only those last seen longer ago than 90s, 10m, 2h', since)
    .option('--limit <n>', 'at most so many', limit)
    .option('--json', 'print one JSON object per line')
    .addHelpText('after', '\nExample:\n  $ parley sessions ls --principal anonymous --json | jq -r .client.name')
    .action(async ({ principal, route, older, limit: most, json, data }: ListOptions) => {
      const { listToTerminal } = await import('../runtime/sessions.ts');
      await listToTerminal({ principal, route, olderMs: older, limit: most, json: json === true, dataDir: data });
    });

const showCommand = (): Command =>
  withData(new Command('show'))
    .summary('print the record of a session')
    .description(
      'Prints the record of a session as JSON, the initialize request summarised. Ids are cut short, since whoever knows one may\n' +
        'use the session.',
    )
    .argument('<id>', 'the beginning of its id, as `parley sessions ls` shows it', idPrefix)
    .option('--full', 'with whole ids and the initialize request as it came')
    .option('--json', 'on one line')
    .addHelpText('after', '\nExample:\n  $ parley sessions show Vq3xZk0B')
    .action(async (id: string, { full, json, data }: ShowOptions) => {
      const { showSession } = await import('../runtime/sessions.ts');
      await showSession(id, { full: full === true, json: json === true, dataDir: data });
    });

const killCommand = (): Command =>
  withData(new Command('kill'))
    .summary('end sessions')
    .description(
      'Has sessions closed, as if their clients had: upstreams are told, open streams and calls end, the next message is answered with\n' +
        '404, at every ingress, within a second.',
    )
    .argument('[ids...]', 'the beginnings of their ids')
    .option('--principal <principal>', 'those of this principal')
    .option('--all', 'all of them')
    .option('--yes', 'yes, all of them')
    .option('--json', 'print one JSON object per session')
    .addHelpText('after', '\nExamples:\n  $ parley sessions kill Vq3xZk0B\n  $ parley sessions kill --principal key:2bb80d537b1da3e3')
    .action(async (ids: readonly string[], { principal, all, yes, json, data }: KillOptions) => {
      if (Number(ids.length > 0) + Number(principal !== undefined) + Number(all === true) !== 1) throw usageError('name the sessions to kill: ids, or --principal, or --all');
      if (all && !yes) throw usageError('--all ends every session of every client: say --yes, too');
      for (const id of ids) if (id.length < PREFIX_CHARS_MIN) throw usageError(`${id} is too little of an id: ${PREFIX_CHARS_MIN} characters at least`);
      const { killSessions } = await import('../runtime/sessions.ts');
      await killSessions({ ids, principal, json: json === true, dataDir: data });
    });

function limit(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= LIMIT_MAX) return count;
  throw new InvalidArgumentError(`Write a whole number from 1 to ${LIMIT_MAX}.`);
}

function idPrefix(text: string): string {
  if (text.length >= PREFIX_CHARS_MIN) return text;
  throw new InvalidArgumentError(`Write ${PREFIX_CHARS_MIN} characters at least.`);
}
