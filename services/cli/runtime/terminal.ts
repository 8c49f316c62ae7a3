/** The two places a command writes to: results on stdout, everything else on stderr, so that `parley … | jq` sees results only. */
import picocolors from 'picocolors';

export type Colors = ReturnType<typeof picocolors.createColors>;

/** A result: what the command was asked for. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Progress, warnings and errors. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Colours only where a person looks; picocolors alone would also colour the pipes of a CI system. */
export const colorsFor = (stream: NodeJS.WriteStream): Colors =>
  picocolors.createColors(stream.isTTY === true && picocolors.isColorSupported);

/** `parley audit tail | head` closes our stdout: that is the end of the work, not an error. */
export function endWhenOutputCloses(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}
