/** A log that can be waited for: a test waits for what a person would read. */
import { createLog, type Logger } from '#host/telemetry/log.ts';

export interface HeardLog {
  readonly log: Logger;
  readonly lines: readonly string[];
  /** Resolves with the first line, past or future, that holds the words. */
  heard(words: string): Promise<string>;
}

export function listeningLog(): HeardLog {
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const log = createLog({
    level: 'debug',
    format: 'json',
    sink: {
      write(line) {
        lines.push(line);
        for (const look of waiting) look();
      },
    },
  });
  return {
    log,
    lines,
    heard: (words) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = lines.find((line) => line.includes(words));
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
  };
}
