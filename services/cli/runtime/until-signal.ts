/**
 * Runs what goes on until it is asked to stop.
 *
 * S1 The first SIGINT or SIGTERM aborts the signal the work was given; the work drains and releases, and the program
 *    ends with 0: doing what it was asked is not an error. (NodeRuntime.runMain would end with 130.)
 * S2 A second signal leaves at once with 130 or 143. `npm start` hands a Ctrl-C on to a child that had it from the
 *    terminal already, so a copy within SAME_SIGNAL_MS is the same Ctrl-C.
 */
import { exitCodeOfSignal } from '../core/exit.ts';
import { say } from './terminal.ts';

const SAME_SIGNAL_MS = 500;
/** How long the event loop may take to run empty after everything was released. */
const EMPTY_MS = 2000;

type StopSignal = 'SIGINT' | 'SIGTERM';
const STOP_SIGNALS: readonly StopSignal[] = ['SIGINT', 'SIGTERM'];

/** @param work its signal's reason is the name of the signal that came. */
export async function untilSignal(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  let askedAt: number | undefined;
  const onSignal = (signal: StopSignal) => {
    if (askedAt === undefined) {
      askedAt = performance.now();
      stop.abort(signal);
    } else if (performance.now() - askedAt > SAME_SIGNAL_MS) {
      process.exit(exitCodeOfSignal(signal));
    }
  };
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  try {
    await work(stop.signal);
  } catch (error) {
    if (!isStop(error, stop.signal)) throw error;
  } finally {
    leaveWhenEmpty();
  }
}

/** What was interrupted in the middle of waiting fails with the reason or an AbortError of its own. */
const isStop = (error: unknown, signal: AbortSignal): boolean =>
  signal.aborted && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'));

/** What still holds the process after everything was closed is a leak of ours: say so instead of hanging. */
function leaveWhenEmpty(): void {
  setTimeout(() => {
    say(`parley: leaving although something is still open: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit();
  }, EMPTY_MS).unref();
}
