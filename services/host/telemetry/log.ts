/** Structured logs to stderr: JSON for machines, readable lines for a terminal. Keys that name a secret are masked, wherever they stand. */
import pino from 'pino';
import pretty from 'pino-pretty';

export type Logger = pino.Logger;
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ['json', 'pretty'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly colour?: boolean;
  /** On every line: which process of which role is speaking. */
  readonly base?: Readonly<Record<string, string>>;
  /** Where lines go instead of stderr; for tests. */
  readonly sink?: pino.DestinationStream;
}

/** How deep inside a logged value secrets are looked for; what lies deeper is not printed. */
const DEPTH_MAX = 6;
const KEYS_MAX = 200;
const MASK = '[redacted]';
const SECRET_KEY = /authori[sz]ation|cookie|passw|secret|token|credential|api[-_]?key|private[-_]?key|bearer|^seed$/i;
/** These hold the word and no secret: counters, and names of things. */
const HARMLESS_KEY = /^(max|input|output|total)[-_]?tokens$|^token[-_]?endpoint$|^progressToken$/i;
/** `nats://user:password@host` and the like, inside any text. */
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/)[^/\s@]+@/gi;

export function createLog(options: LogOptions): Logger {
  return pino(
    {
      level: options.level,
      base: options.base ?? null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => masked(fields, 0) as Record<string, unknown>,
      },
      hooks: {
        logMethod(args, method) {
          const [first] = args as unknown[];
          const whole: unknown[] = first instanceof Error && args.length === 1 ? [{ err: first }, first.message] : args;
          method.apply(this, whole.map((arg) => (typeof arg === 'string' ? maskUrls(arg) : arg)) as Parameters<typeof method>);
        },
      },
      serializers: { err: describeError },
    },
    options.sink ?? destination(options),
  );
}

/** Credentials in a URL are replaced; the rest of the text stays. */
export const maskUrls = (text: string): string => text.replace(URL_PASSWORD, `$1${MASK}@`);

/** The file descriptor is written synchronously: the last line before a crash is the one that is needed. */
function destination({ format, colour = false }: LogOptions): pino.DestinationStream {
  if (format === 'json') return pino.destination({ dest: 2, sync: true });
  return pretty({ destination: 2, sync: true, colorize: colour, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l' });
}

function masked(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return maskUrls(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return describeError(value);
  if (value instanceof Date || ArrayBuffer.isView(value)) return value instanceof Date ? value : `[${value.byteLength} bytes]`;
  if (depth >= DEPTH_MAX) return '[deeper]';
  if (Array.isArray(value)) return value.slice(0, KEYS_MAX).map((item) => masked(item, depth + 1));
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value).slice(0, KEYS_MAX)) {
    const secret = SECRET_KEY.test(key) && !HARMLESS_KEY.test(key) && item !== undefined && item !== null && typeof item !== 'boolean';
    out[key] = secret ? MASK : masked(item, depth + 1);
  }
  return out;
}

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return masked(error, 0);
  const code = (error as { code?: unknown }).code;
  return {
    type: error.name,
    message: maskUrls(error.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: maskUrls(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}
