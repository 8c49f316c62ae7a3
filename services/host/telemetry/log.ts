/** Structured logs to stderr: JSON for machines, readable lines for a terminal. Keys that name a secret are masked, wherever they stand. */
import pino from 'pino';
import pretty from 'pino-pretty';
import { type Secrets, namesSecret } from './secrets.ts';

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
  /** What is taken out of every line, wherever it stands. */
  readonly secrets?: Secrets;
  /** Where lines go instead of stderr; for tests. */
  readonly sink?: pino.DestinationStream;
}

/** How deep inside a logged value secrets are looked for; what lies deeper is not printed. */
const DEPTH_MAX = 6;
const KEYS_MAX = 200;
const MASK = '[redacted]';
/** `nats://user:password@host` and the like, inside any text. */
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/)[^/\s@]+@/gi;

type Mask = (text: string) => string;

/** Takes passwords of URLs, and the secrets a process knows, out of a text. */
const maskOf = (secrets: Secrets | undefined): Mask => (secrets === undefined ? maskUrls : (text) => secrets.mask(maskUrls(text)));

/** What a line says of something, for others than the log. */
export const maskedFields = (fields: object, secrets: Secrets | undefined): Record<string, unknown> => masked(fields, 0, maskOf(secrets)) as Record<string, unknown>;

export function createLog(options: LogOptions): Logger {
  const { secrets } = options;
  const mask = maskOf(secrets);
  return pino(
    {
      level: options.level,
      base: options.base ?? null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => masked(fields, 0, mask) as Record<string, unknown>,
      },
      hooks: {
        logMethod(args, method) {
          const [first] = args as unknown[];
          const whole: unknown[] = first instanceof Error && args.length === 1 ? [{ err: first }, first.message] : args;
          method.apply(this, whole.map((arg) => (typeof arg === 'string' ? mask(arg) : arg)) as Parameters<typeof method>);
        },
      },
      serializers: { err: (error: unknown) => describeError(error, mask) },
    },
    options.sink ?? new LogOutput(options),
  );
}

/** Credentials in a URL are replaced; the rest of the text stays. */
export const maskUrls = (text: string): string => text.replace(URL_PASSWORD, `$1${MASK}@`);

/** Where lines go, in a format that may become another as the process runs. */
export class LogOutput implements pino.DestinationStream {
  format: LogFormat;
  readonly #colour: boolean;
  readonly #streams: Partial<Record<LogFormat, pino.DestinationStream>> = {};

  constructor({ format, colour = false }: Pick<LogOptions, 'format' | 'colour'>) {
    this.format = format;
    this.#colour = colour;
  }

  write(line: string): void {
    (this.#streams[this.format] ??= destination(this.format, this.#colour)).write(line);
  }
}

/** The file descriptor is written synchronously: the last line before a crash is the one that is needed. */
function destination(format: LogFormat, colour: boolean): pino.DestinationStream {
  if (format === 'json') return pino.destination({ dest: 2, sync: true });
  return pretty({ destination: 2, sync: true, colorize: colour, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l' });
}

function masked(value: unknown, depth: number, mask: Mask): unknown {
  if (typeof value === 'string') return mask(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return describeError(value, mask);
  if (value instanceof Date || ArrayBuffer.isView(value)) return value instanceof Date ? value : `[${value.byteLength} bytes]`;
  if (depth >= DEPTH_MAX) return '[deeper]';
  if (Array.isArray(value)) return value.slice(0, KEYS_MAX).map((item) => masked(item, depth + 1, mask));
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value).slice(0, KEYS_MAX)) {
    const secret = namesSecret(key) && item !== undefined && item !== null && typeof item !== 'boolean';
    out[key] = secret ? MASK : masked(item, depth + 1, mask);
  }
  return out;
}

function describeError(error: unknown, mask: Mask): unknown {
  if (!(error instanceof Error)) return masked(error, 0, mask);
  const code = (error as { code?: unknown }).code;
  return {
    type: error.name,
    message: mask(error.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: mask(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause, mask) }),
  };
}
