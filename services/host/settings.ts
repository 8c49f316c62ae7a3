/** Environment → typed settings, once, at the start of a process: nothing else in the host reads process.env. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { Secret } from '#protocol/config/secret.ts';
import type { TraceSettings } from '#protocol/config/tracing.ts';
import { isSpiffeEndpoint } from '#protocol/config/spiffe-endpoint.ts';
import { duration, keys, readEnvironment, type Environment } from './environment.ts';
import type { DocumentKeys } from './document-seal.ts';
import type { NatsAccess } from './nats/connect.ts';
import { SYNC_INTERVAL_DEFAULT } from './nats/server-config.ts';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from './telemetry/log.ts';

const NATS_WAIT_MS_DEFAULT = 60_000;
/** The reference system's metrics port, so dashboards keep working; on loopback until told otherwise. */
export const STATS_ADDR_DEFAULT = '127.0.0.1:15020';
export const DRAIN_MS_DEFAULT = 15_000;
const WAIT_MS_MAX = 24 * 3600_000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface NatsSettings {
  /** Undefined = `parley up` starts a server of its own; `parley run` needs one. May hold a password: never print it. */
  readonly url: string | undefined;
  readonly access: NatsAccess;
  readonly waitMs: number;
  /** Undefined = one replica for what is created, and what exists keeps its own. */
  readonly replicas: number | undefined;
  /** Of the server we start ourselves. */
  readonly syncInterval: string;
}

export interface LogSettings {
  readonly level: LogLevel;
  /** True = the environment says so, and the gateway document does not change it. */
  readonly levelIsSet: boolean;
  readonly format: LogFormat;
  /** As of the level. */
  readonly formatIsSet: boolean;
  readonly colour: boolean;
}

export interface HostSettings {
  readonly nats: NatsSettings;
  readonly dataDir: string;
  readonly log: LogSettings;
  /** How long open answers may take to finish when the process is asked to stop. */
  readonly drainMs: number;
  readonly bindAddresses: readonly string[];
  /** Of browsers; 64 hex digits. Undefined = a key of this process alone. */
  readonly cookieKey: Secret | undefined;
  /** What secrets of the gateway document are sealed with. Undefined = one that the policy service draws. */
  readonly configKeys: DocumentKeys | undefined;
  /** Of the SPIFFE Workload API; undefined = the gateway document says where it is. */
  readonly spiffeEndpoint: string | undefined;
  /** Undefined = not set: the gateway document may choose, else STATS_ADDR_DEFAULT. */
  readonly statsAddr: Address | 'off' | undefined;
  /** Undefined = not set: the gateway document may say where they go. Without either, traces cost nothing. */
  readonly traces: TraceSettings | 'off' | undefined;
}

/** The first is of no use without the second. */
const TOGETHER = [
  ['NATS_CERT', 'NATS_KEY'],
  ['NATS_KEY', 'NATS_CERT'],
  ['NATS_PASSWORD', 'NATS_USER'],
] as const;

const text = z.string().trim().optional();
const bareUrl = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });

const environment = z.object({
  NATS_URL: text.refine(
    (urls) => urls === undefined || urls.split(',').every(isNatsUrl),
    'must be nats://host:port or tls://host:port, several separated by commas',
  ),
  NATS_USER: text,
  NATS_PASSWORD: z.string().optional(),
  NATS_CREDS: text,
  NATS_CA: text,
  NATS_CERT: text,
  NATS_KEY: text,
  PARLEY_NATS_WAIT: duration(WAIT_MS_MAX),
  PARLEY_DRAIN: duration(WAIT_MS_MAX),
  PARLEY_NATS_SYNC: z.string().regex(/^(always|\d+(ms|s|m|h))$/, 'must be `always` or a duration like 5s').optional(),
  PARLEY_REPLICAS: z.coerce.number('must be 1, 3 or 5').refine((n) => [1, 3, 5].includes(n), 'must be 1, 3 or 5').optional(),
  PARLEY_DATA: text,
  PARLEY_LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).optional(),
  PARLEY_LOG_FORMAT: z.enum(LOG_FORMATS, `must be one of ${LOG_FORMATS.join(', ')}`).optional(),
  PARLEY_BIND: text.refine((hosts) => hosts === undefined || hosts.split(',').every((host) => host.trim() !== ''), 'must be addresses separated by commas'),
  SPIFFE_ENDPOINT_SOCKET: text.refine((endpoint) => endpoint === undefined || isSpiffeEndpoint(endpoint), 'must be unix:///path/of/agent.sock or tcp://address:port'),
  OIDC_COOKIE_SECRET: text.refine((key) => key === undefined || /^[0-9a-f]{64}$/i.test(key), 'must be 64 hex digits, as `openssl rand -hex 32` makes them'),
  PARLEY_CONFIG_KEY: keys,
  PARLEY_STATS_ADDR: text.transform((value, context) => (value === undefined ? undefined : addressOr(context, value))),
  OTEL_SDK_DISABLED: text,
  OTEL_EXPORTER_OTLP_ENDPOINT: bareUrl.optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: bareUrl.optional(),
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number('must be a number from 0 to 1').min(0, 'must be a number from 0 to 1').max(1, 'must be a number from 0 to 1').optional(),
}).check(({ value, issues }) => {
  for (const [one, other] of TOGETHER) {
    if (value[one] !== undefined && value[other] === undefined) issues.push({ code: 'custom', input: value, path: [one], message: `is set, and ${other} is not` });
  }
});

/** @throws Fault invalid, one line for each variable that is wrong; values are not repeated, they may be secrets. */
export function readSettings(env: Environment): HostSettings {
  const set = readEnvironment(environment, env);
  const terminal = process.stderr.isTTY === true;
  return {
    nats: {
      url: set.NATS_URL,
      access: {
        user: set.NATS_USER,
        password: set.NATS_PASSWORD,
        credsFile: set.NATS_CREDS,
        caFile: set.NATS_CA,
        certFile: set.NATS_CERT,
        keyFile: set.NATS_KEY,
      },
      waitMs: set.PARLEY_NATS_WAIT ?? NATS_WAIT_MS_DEFAULT,
      replicas: set.PARLEY_REPLICAS,
      syncInterval: set.PARLEY_NATS_SYNC ?? SYNC_INTERVAL_DEFAULT,
    },
    dataDir: set.PARLEY_DATA === undefined ? defaultDataDir(env) : resolve(set.PARLEY_DATA),
    log: {
      level: set.PARLEY_LOG_LEVEL ?? 'info',
      levelIsSet: set.PARLEY_LOG_LEVEL !== undefined,
      format: set.PARLEY_LOG_FORMAT ?? (terminal ? 'pretty' : 'json'),
      formatIsSet: set.PARLEY_LOG_FORMAT !== undefined,
      colour: terminal && !env['NO_COLOR'],
    },
    drainMs: set.PARLEY_DRAIN ?? DRAIN_MS_DEFAULT,
    bindAddresses: set.PARLEY_BIND?.split(',').map((host) => host.trim()) ?? ['127.0.0.1'],
    cookieKey: set.OIDC_COOKIE_SECRET === undefined ? undefined : new Secret(set.OIDC_COOKIE_SECRET),
    configKeys: set.PARLEY_CONFIG_KEY,
    spiffeEndpoint: set.SPIFFE_ENDPOINT_SOCKET,
    statsAddr: set.PARLEY_STATS_ADDR,
    traces: traces(set),
  };
}

/** `ip:port`, `[ip6]:port`, `:port` (every interface) or `off`; undefined = none of these. */
export function parseAddress(value: string): Address | 'off' | undefined {
  if (value === 'off') return 'off';
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(value) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535) return undefined;
  return { host: bracketed ?? (plain === '' ? '0.0.0.0' : plain), port };
}

function addressOr(context: z.RefinementCtx, value: string): Address | 'off' {
  const address = parseAddress(value);
  if (address !== undefined) return address;
  context.addIssue('must be ip:port, or `off`');
  return z.NEVER;
}

function traces(set: z.infer<typeof environment>): HostSettings['traces'] {
  const base = set.OTEL_EXPORTER_OTLP_ENDPOINT;
  const url = set.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (base === undefined ? undefined : `${base.replace(/\/+$/, '')}/v1/traces`);
  if (set.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return 'off';
  return url === undefined ? undefined : { protocol: 'http', url, ratio: set.OTEL_TRACES_SAMPLER_ARG ?? 1 };
}

function defaultDataDir(env: Readonly<Record<string, string | undefined>>): string {
  const xdg = env['XDG_STATE_HOME'];
  const base = xdg && isAbsolute(xdg) ? xdg : join(env['HOME'] || homedir(), '.local', 'state');
  return join(base, 'parley');
}

function isNatsUrl(url: string): boolean {
  const parsed = URL.parse(url.includes('://') ? url.trim() : `nats://${url.trim()}`);
  return parsed !== null && ['nats:', 'tls:'].includes(parsed.protocol) && parsed.hostname !== '';
}
