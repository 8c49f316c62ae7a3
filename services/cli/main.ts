/** `parley`, the command line. Exit codes: docs/cli.md. */
import { CommanderError } from 'commander';
import { Fault } from '#protocol/faults/fault.ts';
import { CommandError, EXIT_FAILED, EXIT_OK, EXIT_USAGE } from './core/exit.ts';
import { program } from './program.ts';
import { colorsFor, endWhenOutputCloses, say } from './runtime/terminal.ts';

/** @param argv as process.argv: program, script, then what was typed. Sets process.exitCode; never throws. */
export async function main(argv: readonly string[]): Promise<void> {
  endWhenOutputCloses();
  try {
    await program().parseAsync([...argv]);
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** Says what went wrong, and which exit code that is. */
function report(error: unknown): number {
  // Commander has printed its message, or the help that was asked for, already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  const { red } = colorsFor(process.stderr);
  if (error instanceof CommandError) {
    say(`${red('error:')} ${error.message}`);
    return error.exitCode;
  }
  if (error instanceof Fault && error.readable) {
    say(`${red('error:')} ${error.message}`);
    return EXIT_FAILED;
  }
  // A defect of ours: everything we know, so that it can be reported.
  const cause = error instanceof Fault ? error.cause : error;
  say(`${red('error:')} parley failed where it should not have; please report this:`);
  say(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause));
  return EXIT_FAILED;
}

if (import.meta.main) await main(process.argv);
