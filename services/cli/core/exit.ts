/** How `parley` ends: the codes of docs/cli.md, and the two ways a command says that it cannot go on. */

export const EXIT_OK = 0;
/** The answer was no, or the work could not be done: an invalid file, a tool that failed, a server that is not there. */
export const EXIT_FAILED = 1;
/** The command line itself is wrong. */
export const EXIT_USAGE = 2;

/** Ends the program with `exitCode`, after `message` was written to stderr. The message is for a person: it says what to do next. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT_FAILED, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

export const usageError = (message: string): CommandError => new CommandError(message, EXIT_USAGE);

/** What the shell reports for a process that a signal ended: asked for twice, we leave at once and say so. */
export const exitCodeOfSignal = (signal: 'SIGINT' | 'SIGTERM'): number => (signal === 'SIGINT' ? 130 : 143);
