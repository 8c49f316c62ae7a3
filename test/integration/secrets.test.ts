/**
 * Secrets planted in every place that can hold one, a full run with everything that goes wrong, and all that was emitted
 * looked through: logs at the lowest level, what commands print, traces, metrics, every message on NATS, every bucket and
 * stream. None may be found.
 *
 * What an MCP server answers its own client is between the two: it passes through unread. One planted value is answered so on
 * purpose, and is looked for everywhere but in what carries answers.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { BUCKETS, STREAMS, bucketStream } from '#deploy/nats/layout.ts';
import { runServer } from '#host/nats/program.ts';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import { createLog } from '#host/telemetry/log.ts';
import { REPLAY_STREAM } from '#protocol/subjects/replay.ts';
import { runCommand, startCommand, type Command } from '../world/command.ts';
import { eventually } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { LEGACY, callOf, initializeOf, note, rpc, send, sendModern, type Headers } from '../world/wire.ts';

const TELLTALE = join(import.meta.dirname, '../fixtures/misbehaving/telltale.ts');
const TEST_MS = 120_000;

const planted = (place: string): string => `planted-${place}-${randomBytes(8).toString('hex')}`;

/** By the place it is planted in. */
const SECRETS = {
  stdioEnv: planted('stdio-env'),
  stdioArg: planted('stdio-arg'),
  urlQuery: planted('url-query'),
  urlPassword: planted('url-password'),
  apiKey: planted('api-key'),
  wrongKey: planted('wrong-key'),
  cookie: planted('cookie'),
  query: planted('query'),
  header: planted('header'),
  natsPassword: planted('nats-password'),
  otlp: planted('otlp'),
  agent: planted('agent'),
  literalKey: planted('literal-key'),
  literalEnv: planted('literal-env'),
  literalAuth: planted('literal-auth'),
  configKey: randomBytes(32).toString('hex'),
  brokenEnv: planted('broken-env'),
  handleKey: randomBytes(32).toString('hex'),
} as const;

/** A server answers its client with it. */
const TOLD = planted('told');

interface Emitted {
  readonly where: string;
  readonly text: string;
}

let folder: string;
let natsUrl: string;
let natsPort: number;
let stopNats: () => Promise<void>;
let telltale: Server;
let sink: Server;
const emitted: Emitted[] = [];
/** What carries answers of servers. */
const carried: Emitted[] = [];

const addressOf = (server: Server): string => `127.0.0.1:${(server.address() as AddressInfo).port}`;

/** Answers every request with what it was sent. */
async function startEcho(status: number, seen: (body: string) => void): Promise<Server> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      seen(Buffer.concat(chunks).toString('latin1'));
      response.writeHead(status, { 'content-type': 'text/plain', 'x-echo': String(request.headers.authorization) });
      response.end(JSON.stringify({ url: request.url, headers: request.headers }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-secrets-'));
  natsPort = await freePort();
  const config = `
    listen: "127.0.0.1:${natsPort}"
    max_payload: 8388608
    jetstream { store_dir: "${join(folder, 'store')}" }
    authorization { user: "parley", password: "${SECRETS.natsPassword}" }`;
  await writeFile(join(folder, 'nats-server.conf'), config);
  const { path } = await resolveNatsServer(process.env, { onProgress: (line) => process.stderr.write(`${line}\n`) });
  const server = await runServer(path, join(folder, 'nats-server.conf'), createLog({ level: 'silent', format: 'json' }), { PATH: process.env['PATH'] });
  stopNats = () => server.stop();
  natsUrl = `nats://parley:${SECRETS.natsPassword}@127.0.0.1:${natsPort}`;
  telltale = await startEcho(500, () => undefined);
  sink = await startEcho(401, (text) => emitted.push({ where: 'a trace', text }));
}, TEST_MS);
afterAll(async () => {
  telltale.close();
  sink.close();
  await stopNats();
  await rm(folder, { recursive: true, force: true });
}, TEST_MS);

const stdio = (name: string, ...more: readonly string[]) => ({
  name,
  stdio: { cmd: process.execPath, args: [TELLTALE, '--token=$PLANTED_ARG', `--into=${join(folder, name)}`, ...more], env: { PLANTED: '${PLANTED_ENV}', WRITTEN: SECRETS.literalEnv, ...(more.length === 0 ? { TOLD: '$PLANTED_TOLD' } : {}) } },
});

const configOf = (port: number): object => ({
  mcp: {
    port,
    failureMode: 'failOpen',
    policies: { apiKey: { mode: 'strict', keys: [{ key: '$PLANTED_KEY', metadata: { user: 'alice' } }, { key: SECRETS.literalKey }] } },
    targets: [
      { name: 'authorized', mcp: { host: 'http://127.0.0.1:${PLANTED_PORT}/mcp' }, policies: { backendAuth: { key: SECRETS.literalAuth } } },
      stdio('willing'),
      stdio('unwilling', '--unwilling'),
      { name: 'query', mcp: { host: 'http://127.0.0.1:${PLANTED_PORT}/mcp?key=$PLANTED_QUERY' } },
      { name: 'missing', stdio: { cmd: '/nowhere/server', args: ['$PLANTED_ARG'], env: { PLANTED: '$PLANTED_ENV' } } },
    ],
  },
});

/** What is wrong with it is about the very values. */
const brokenConfigOf = (port: number): object => ({
  mcp: { port: '$BROKEN_SECRET', policies: { apiKey: { mode: '$BROKEN_SECRET', keys: [{ key: '$PLANTED_KEY' }, { key: '$PLANTED_KEY' }, { key: 'has $BROKEN_SECRET blanks' }] } }, statefulMode: '$BROKEN_SECRET', targets: [{ name: 'n_$BROKEN_SECRET', stdio: { cmd: 'c', env: '$BROKEN_SECRET' } }, { name: 'u', mcp: { host: 'ftp://$BROKEN_SECRET', port } }, { name: 'p', mcp: { host: 'http://user:$PLANTED_PASSWORD@127.0.0.1/mcp' } }] },
});

const env = (): Record<string, string> => ({
  NATS_URL: natsUrl,
  PLANTED_ARG: SECRETS.stdioArg,
  PLANTED_ENV: SECRETS.stdioEnv,
  PLANTED_TOLD: TOLD,
  PLANTED_KEY: SECRETS.apiKey,
  PLANTED_QUERY: SECRETS.urlQuery,
  PLANTED_PASSWORD: SECRETS.urlPassword,
  PLANTED_PORT: String((telltale.address() as AddressInfo).port),
  BROKEN_SECRET: SECRETS.brokenEnv,
  PARLEY_HANDLE_KEY: SECRETS.handleKey,
  PARLEY_CONFIG_KEY: SECRETS.configKey,
  PARLEY_LOG_LEVEL: 'trace',
  PARLEY_LOG_FORMAT: 'json',
  SPIFFE_ENDPOINT_SOCKET: `unix:///run/${SECRETS.agent}.sock`,
  OTEL_EXPORTER_OTLP_ENDPOINT: `http://${addressOf(sink)}`,
  OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${SECRETS.otlp}`,
  OTEL_BSP_SCHEDULE_DELAY: '200',
});

/** Some processes are told the password in the URL, some beside it. */
const beside = (): Record<string, string> => ({ ...env(), NATS_URL: `nats://127.0.0.1:${natsPort}`, NATS_USER: 'parley', NATS_PASSWORD: SECRETS.natsPassword });

/** Everything that NATS carries; whatever an answer travels by is told apart by its subject. */
async function listen(): Promise<NatsConnection> {
  const bare = await connect({ servers: `127.0.0.1:${natsPort}`, user: 'parley', pass: SECRETS.natsPassword });
  bare.subscribe('>', {
    callback: (_error, message) => {
      const headers = [...(message.headers?.keys() ?? [])].map((key) => `${key}: ${message.headers?.values(key).join()}`).join('\n');
      const into = /^(parley\.(inbox|stream|replay)|_INBOX|REPLAY|\$JS)/.test(message.subject) || message.subject.includes('replay') ? carried : emitted;
      into.push({ where: `NATS ${message.subject}`, text: `${message.subject}\n${headers}\n${Buffer.from(message.data).toString('latin1')}` });
    },
  });
  await bare.flush();
  return bare;
}

async function stored(bare: NatsConnection): Promise<void> {
  const jsm = await jetstreamManager(bare);
  for (const name of [...STREAMS.map((stream) => stream.name), ...BUCKETS.map((bucket) => bucketStream(bucket.name))]) {
    const { state } = await jsm.streams.info(name);
    for (let seq = state.first_seq; seq <= state.last_seq && state.messages > 0; seq += 1) {
      const message = await jsm.streams.getMessage(name, { seq }).catch(() => null);
      if (message !== null) (name === REPLAY_STREAM ? carried : emitted).push({ where: `the stream ${name}`, text: `${message.subject} ${Buffer.from(message.data).toString('latin1')}` });
    }
  }
}

/** A client of good will, one of bad will, and tools that fail. What clients are told is for them. */
async function use(url: string): Promise<string> {
  const who: Headers = { authorization: `Bearer ${SECRETS.apiKey}`, cookie: `session=${SECRETS.cookie}`, 'x-api-key': SECRETS.header, 'x-secret-header': SECRETS.header };
  const at = `${url}?access_token=${SECRETS.query}`;
  for (const authorization of [`Bearer ${SECRETS.wrongKey}`, `Basic ${Buffer.from(`u:${SECRETS.wrongKey}`).toString('base64')}`, SECRETS.wrongKey]) {
    const { status, text } = await send(at, { headers: { ...who, authorization }, body: initializeOf() });
    expect(status).toBe(401);
    emitted.push({ where: 'a refusal', text });
  }
  const written = await send(at, { headers: { ...who, authorization: `Bearer ${SECRETS.literalKey}` }, body: initializeOf() });
  expect(written.status).toBe(200);
  const first = await send(at, { headers: who, body: initializeOf() });
  expect(first.status).toBe(200);
  const session = String(first.headers['mcp-session-id']);
  const headers = { ...who, 'mcp-session-id': session, 'mcp-protocol-version': LEGACY };
  await send(at, { headers, body: note('notifications/initialized') });
  for (const body of [rpc('tools/list'), callOf('willing_echo', { message: 'hi' }), callOf('willing_once_only'), callOf('query_echo'), callOf('authorized_echo'), callOf('willing_die'), callOf('willing_echo', { message: 'again' }, 2)]) await send(at, { headers, body });
  for (const name of ['willing_echo', 'willing_once_only', 'query_echo', 'authorized_echo', 'unwilling_echo', 'willing_die']) await sendModern(at, 'tools/call', { name, headers: who, params: { arguments: {} } });
  await send(at, { headers: { ...headers, 'mcp-session-id': 'A'.repeat(32) }, body: rpc('tools/list') });
  await send(at, { headers, body: 'no json' }).then(({ text }) => emitted.push({ where: 'a refusal', text }));
  return session;
}

const RUNS: readonly (readonly [string, readonly (readonly string[])[]])[] = [
  ['parley up', [['up', '-f']]],
  ['four processes', [['run', 'policy', '-f'], ['run', 'session'], ['run', 'connector'], ['run', 'ingress']]],
];

describe.each(RUNS)('of the secrets of %s', (_name, processes) => {
  test(
    'none is told to anybody they are not for',
    async () => {
      const [port, config] = [await freePort(), join(folder, 'config.yaml')];
      await writeFile(config, stringify(configOf(port)));
      const bare = await listen();
      const running: Command[] = [];
      const stats: string[] = [];
      try {
        for (const [index, args] of processes.entries()) {
          const address = `127.0.0.1:${await freePort()}`;
          stats.push(address);
          const command = startCommand(args.at(-1) === '-f' ? [...args, config] : args, { ...(index % 2 === 0 ? env() : beside()), PARLEY_STATS_ADDR: address });
          running.push(command);
          // The others are ready without a configuration, too: they find that of the first there.
          if (index === 0) await command.line(/^ready after/);
        }
        await Promise.all(running.map((command) => command.line(/^ready after/)));
        const session = await use(`http://127.0.0.1:${port}/mcp`);
        await writeFile(config, stringify(brokenConfigOf(port)));
        await running[0]?.line(/configuration refused/);
        const commands: (readonly string[])[] = [
          ['check', '-f', config],
          ['check', '-f', config, '--json'],
          ['sessions', 'ls', '--json'],
          ['sessions', 'show', '--json', '--full', '--', session.slice(0, 8)],
          ['sessions', 'kill', '--json', '--', session.slice(0, 8)],
          ['nats', 'apply'],
        ];
        for (const args of commands) {
          const { stdout, stderr } = await runCommand(args, beside());
          emitted.push({ where: `parley ${args.join(' ')}`, text: stdout + stderr });
        }
        const wrong = await runCommand(['sessions', 'ls'], { ...env(), NATS_URL: `nats://parley:${SECRETS.natsPassword}x@127.0.0.1:${natsPort}` });
        emitted.push({ where: 'a command with a wrong password', text: wrong.stdout + wrong.stderr });
        const tail = startCommand(['audit', 'tail', '--since', '1h', '--json'], env());
        await tail.line(/session_closed/);
        const { stdout, stderr } = await tail.stop();
        emitted.push({ where: 'parley audit tail', text: stdout + stderr });
        for (const address of stats) {
          for (const path of ['/metrics', '/healthz/ready']) emitted.push({ where: `${path} of ${address}`, text: (await send(`http://${address}${path}`, { method: 'GET' })).text });
        }
        await eventually('a trace', () => emitted.find(({ where }) => where === 'a trace'));
        await stored(bare);
      } finally {
        for (const command of running.toReversed()) {
          const { stdout, stderr } = await command.stop();
          emitted.push({ where: 'the output of a process', text: stdout + stderr });
        }
        await bare.close();
      }
      expect(emitted.length).toBeGreaterThan(50);
      expect(emitted.some(({ where, text }) => where === 'the output of a process' && text.includes('[redacted]')), 'a server told what it knows').toBe(true);
      const told = carried.some(({ text }) => text.includes(TOLD)) || processes.length === 1;
      expect(told, 'the answer that holds a secret passed through').toBe(true);
      expect(leaks()).toEqual([]);
      const trusted = await readFile(join(folder, 'willing'), 'utf8');
      for (const own of [SECRETS.stdioEnv, SECRETS.stdioArg, SECRETS.literalEnv, TOLD]) expect(trusted).toContain(own);
      for (const ours of ['natsPassword', 'apiKey', 'urlQuery', 'otlp', 'handleKey', 'configKey', 'agent'] as const) expect(trusted, ours).not.toContain(SECRETS[ours]);
    },
    TEST_MS,
  );
});

/** Every secret in every place, with what stands around it. */
function leaks(): string[] {
  const found: string[] = [];
  const look = (places: readonly Emitted[], secrets: Readonly<Record<string, string>>): void => {
    const forms = Object.entries(secrets).flatMap(([name, secret]) => [secret, Buffer.from(secret).toString('base64').replace(/=+$/, '')].map((form) => ({ name, form })));
    for (const { where, text } of places) {
      for (const { name, form } of forms) {
        const at = text.indexOf(form);
        if (at >= 0) found.push(`${name} in ${where}: …${text.slice(Math.max(0, at - 120), at + form.length + 40)}…`);
      }
    }
  };
  look(emitted, { ...SECRETS, TOLD });
  look(carried, SECRETS);
  return [...new Set(found)];
}
