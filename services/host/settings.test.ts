import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAddress, readSettings } from './settings.ts';

const problem = (env: Record<string, string>): string => {
  try {
    readSettings(env);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was accepted');
};

test('with an empty environment a process stays on loopback, waits a minute for NATS and sends no traces', () => {
  const settings = readSettings({});
  expect(settings).toMatchObject({
    nats: { url: undefined, waitMs: 60_000, replicas: undefined, syncInterval: '5s' },
    dataDir: join(homedir(), '.local', 'state', 'parley'),
    bindAddresses: ['127.0.0.1'],
    drainMs: 15_000,
    statsAddr: undefined,
    traces: undefined,
  });
  expect(settings.log).toMatchObject({ level: 'info', levelIsSet: false, formatIsSet: false });
});

test('what the environment says is taken', () => {
  const settings = readSettings({
    NATS_URL: 'nats://a:4222,tls://b',
    NATS_USER: 'session',
    NATS_PASSWORD: ' with blanks ',
    NATS_CA: '/ca.pem',
    NATS_CERT: '/own.pem',
    NATS_KEY: '/own.key',
    SPIFFE_ENDPOINT_SOCKET: 'unix:///run/agent.sock',
    PARLEY_NATS_WAIT: '2m',
    PARLEY_REPLICAS: '3',
    PARLEY_NATS_SYNC: 'always',
    PARLEY_DATA: '/var/lib/parley',
    PARLEY_LOG_LEVEL: 'debug',
    PARLEY_LOG_FORMAT: 'json',
    PARLEY_BIND: '0.0.0.0, ::',
    PARLEY_STATS_ADDR: '[::1]:9000',
    PARLEY_DRAIN: '30s',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
  });
  expect(settings).toMatchObject({
    nats: {
      url: 'nats://a:4222,tls://b',
      access: { user: 'session', password: ' with blanks ', caFile: '/ca.pem', certFile: '/own.pem', keyFile: '/own.key', credsFile: undefined },
      waitMs: 120_000,
      replicas: 3,
      syncInterval: 'always',
    },
    dataDir: '/var/lib/parley',
    log: { level: 'debug', levelIsSet: true, format: 'json', formatIsSet: true },
    bindAddresses: ['0.0.0.0', '::'],
    statsAddr: { host: '::1', port: 9000 },
    drainMs: 30_000,
    traces: { protocol: 'http', url: 'http://collector:4318/v1/traces', ratio: 0.25 },
  });
});

test('the data directory follows the XDG state directory', () => {
  expect(readSettings({ XDG_STATE_HOME: '/state' }).dataDir).toBe('/state/parley');
});

test('a variable that is set to nothing counts as not set', () => {
  expect(readSettings({ NATS_URL: '', PARLEY_REPLICAS: '' }).nats).toMatchObject({ url: undefined, replicas: undefined });
});

test('OTEL_SDK_DISABLED switches traces off although there is a collector', () => {
  expect(readSettings({ OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }).traces).toBe('off');
});

describe('a wrong variable is named, with what it must be', () => {
  test.each([
    ['NATS_URL', 'http://nats:4222', 'nats://host:port'],
    ['NATS_CERT', '/own.pem', 'is set, and NATS_KEY is not'],
    ['NATS_KEY', '/own.key', 'is set, and NATS_CERT is not'],
    ['NATS_PASSWORD', 'hunter2', 'is set, and NATS_USER is not'],
    ['PARLEY_NATS_WAIT', '60', 'duration like 500ms'],
    ['PARLEY_NATS_WAIT', '25h', 'at most 24h'],
    ['PARLEY_REPLICAS', '2', '1, 3 or 5'],
    ['PARLEY_NATS_SYNC', 'soon', 'always'],
    ['PARLEY_LOG_LEVEL', 'loud', 'trace, debug, info'],
    ['PARLEY_LOG_FORMAT', 'xml', 'json, pretty'],
    ['PARLEY_STATS_ADDR', 'here', 'ip:port'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector', 'http or https URL'],
    ['OTEL_TRACES_SAMPLER_ARG', '2', 'from 0 to 1'],
  ])('%s=%s', (name, value, must) => {
    expect(problem({ [name]: value })).toMatch(new RegExp(`^${name} .*${must}`));
  });

  test('all of them at once, and never their values', () => {
    const message = problem({ NATS_URL: 'http://user:hunter2@nats', PARLEY_REPLICAS: '7' });
    expect(message.split('\n')).toHaveLength(2);
    expect(message).not.toContain('hunter2');
  });
});

test.each([
  ['off', 'off'],
  ['127.0.0.1:15020', { host: '127.0.0.1', port: 15020 }],
  ['localhost:0', { host: 'localhost', port: 0 }],
  [':8080', { host: '0.0.0.0', port: 8080 }],
  ['[::]:8080', { host: '::', port: 8080 }],
  ['127.0.0.1', undefined],
  ['127.0.0.1:65536', undefined],
  ['unix:/run/parley', undefined],
])('the address %s is read as %j', (text, address) => {
  expect(parseAddress(text)).toEqual(address);
});
