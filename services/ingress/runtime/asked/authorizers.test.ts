import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type ServerHttp2Session, createServer as createHttp2 } from 'node:http2';
import { type AddressInfo, type Server, createServer } from 'node:net';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AuthorizerTarget, Authorizers, CheckOutcome } from '#policies/authorizer/authorizer.ts';
import type { BackendTls } from '#protocol/config/backend-tls.ts';
import { Callout, type Reaching } from '#protocol/config/callout.ts';
import { type ServedTls, startGrpcAuthorizer, startHttpAuthorizer } from '../../../../test/world/authorizer.ts';
import { type Certificates, makeAuthority, makeCertificates } from '../../../../test/world/certificates.ts';
import { type WorkloadApi, startWorkloadApi, svidOf } from '../../../../test/world/workload-api.ts';
import type { OwnParts } from '#host/secured-connector.ts';
import { Svids } from '#host/spiffe/svids.ts';
import { createLog } from '#host/telemetry/log.ts';
import { AuthorizerConnections } from './authorizers.ts';
import type { AskConnector } from './connector-authorizers.ts';

const QUESTION = { method: 'GET', path: '/', headers: {}, body: undefined };
const CHECK = {
  attributes: {
    source: { address: { socket_address: { address: '', port_value: 0 } }, principal: '' }, destination: undefined,
    request: { time: { seconds: 0, nanos: 0 }, http: { id: '', method: '', headers: {}, path: '', host: '', scheme: '', size: 0, protocol: '', body: '', raw_body: new Uint8Array() } },
    context_extensions: {}, metadata_context: { filter_metadata: {} },
  },
};
const target = (host: string, { timeoutMs = 2_000, ...reaching }: Reaching = {}): AuthorizerTarget => several([host], { ...reaching, timeoutMs });
const several = (hosts: readonly string[], { timeoutMs = 2_000, ...reaching }: Reaching = {}): AuthorizerTarget => {
  const endpoints = hosts.map((host) => ({ origin: `${reaching.tls === undefined ? 'http' : 'https'}://${host}`, weight: 1 })) as unknown as Callout['endpoints'];
  return { callout: new Callout({ name: hosts.join(','), endpoints, reaching }), timeoutMs };
};
const nobody: AskConnector = () => {
  throw new Error('nobody is asked here');
};

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

function connections(own: OwnParts = {}) {
  const failures: string[] = [];
  const counted: [string, CheckOutcome][] = [];
  const made = new AuthorizerConnections({ checked: (...one) => counted.push(one), authorizerAnswered: () => undefined, failed: (what) => failures.push(what) }, { byConnector: nobody, ...own });
  undo.push(() => made.stop());
  return { made, failures, counted };
}

/** It takes connections, and says nothing. */
async function silent(): Promise<{ host: string; server: Server }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => server.close());
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

describe('a connection by gRPC', () => {
  test('is made when it is named, once for all who name it, and closed when nobody does', async () => {
    const server = createHttp2().listen(0, '127.0.0.1');
    undo.push(() => server.close());
    await once(server, 'listening');
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const sessions: ServerHttp2Session[] = [];
    server.on('session', (session) => sessions.push(session));
    const { made } = connections();
    made.during((authorizers) => [authorizers.grpc(target(host)), authorizers.grpc(target(host))]);
    await once(server, 'session');
    made.during((authorizers) => authorizers.grpc(target(host)));
    const closed = once(sessions[0] as ServerHttp2Session, 'close');
    made.during(() => undefined);
    await closed;
    expect(sessions).toHaveLength(1);
  });

  test('is another one for other settings', async () => {
    const { made } = connections();
    const { host, server } = await silent();
    const both = new Promise<void>((resolve) => {
      let count = 0;
      server.on('connection', () => ++count === 2 && resolve());
    });
    made.during((authorizers) => [authorizers.grpc(target(host)), authorizers.grpc(target(host, { timeoutMs: 1 }))]);
    await both;
  });

  test('that nobody names any more still serves whoever began before', async () => {
    const server = await startGrpcAuthorizer(() => ({ status: { code: 0 } }));
    undo.push(() => server.close());
    const { made } = connections();
    const old = made.during((authorizers) => authorizers.grpc(target(server.host)));
    made.during(() => undefined);
    expect((await old.check(CHECK)).status).toEqual({ code: 0, message: '' });
  });
});

describe('a question', () => {
  test('that waits when its authorizer is named no more gets its answer, and the connection is closed then', async () => {
    const { promise: held, resolve } = Promise.withResolvers<ServerResponse>();
    const server = await startHttpAuthorizer((_, response) => resolve(response));
    undo.push(() => server.close());
    const { made } = connections();
    const answer = made.during((authorizers) => authorizers.http(target(server.host))).send(QUESTION);
    const response = await held;
    made.during(() => undefined);
    const { socket } = response;
    response.end('late');
    expect(new TextDecoder().decode((await answer).body)).toBe('late');
    await new Promise<void>((closed) => (socket === null || socket.closed ? closed() : socket.once('close', closed)));
    expect(await server.open()).toBe(0);
  });

  test('past the limit of those that wait fails at once', async () => {
    const { host } = await silent();
    const { made } = connections();
    const http = made.during((authorizers) => authorizers.http(target(host, { timeoutMs: 500 })));
    const asked = Array.from({ length: 4_097 }, () => http.send(QUESTION));
    await expect(asked[4_096]).rejects.toMatchObject({ code: 'upstream', message: expect.stringContaining('4096 questions') });
    const others = await Promise.allSettled(asked.slice(0, 4_096));
    expect(others.every((one) => one.status === 'rejected' && (one.reason as { code: string }).code === 'timeout')).toBe(true);
  });

  test.each<[string, (authorizers: Authorizers, host: string) => () => Promise<unknown>]>([
    ['gRPC', (authorizers, host) => () => authorizers.grpc(target(host, { tls: TLS })).check(CHECK)],
    ['HTTP', (authorizers, host) => () => authorizers.http(target(host, { tls: TLS })).send(QUESTION)],
  ])('by %s whose files cannot be read fails, and names the file once', async (_, ask) => {
    const { host } = await silent();
    const { made, failures } = connections();
    const asking = made.during((authorizers) => ask(authorizers, host));
    await expect(asking()).rejects.toMatchObject({ code: 'upstream' });
    await expect(asking()).rejects.toMatchObject({ code: 'upstream' });
    expect(failures).toEqual([`the authorizer ${host} gave no answer`]);
  });
});

const TLS = { root: '/nowhere/ca.pem', cert: undefined, key: undefined, hostname: undefined, verify: 'all', alpn: undefined, subjectAltNames: undefined, keyExchangeGroups: undefined } as const;

test('what came of a check is counted for who was asked', () => {
  const { made, counted } = connections();
  made.during(({ counted: count }) => count('judge.test:9000', 'denied'));
  expect(counted).toEqual([['judge.test:9000', 'denied']]);
});

describe('an authorizer over TLS', () => {
  let folder: string;
  let files: Certificates;
  let hosts: Readonly<Record<'grpc' | 'http', string>>;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parley-authorizers-'));
    files = await makeCertificates(folder);
    const [cert, key, ca] = await Promise.all([files.serverCert, files.serverKey, files.ca].map((path) => readFile(path)));
    const tls = { cert, key, ca } as ServedTls;
    const [grpc, http] = await Promise.all([startGrpcAuthorizer(() => ({ status: { code: 0 } }), 0, tls), startHttpAuthorizer((_, response) => void response.end(), 0, tls)]);
    servers = [grpc, http];
    hosts = { grpc: grpc.host, http: http.host };
  });
  afterAll(async () => {
    for (const server of servers) await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = (kind: 'grpc' | 'http', tls: Partial<BackendTls>): Promise<unknown> => {
    const { made } = connections();
    const secured = target(hosts[kind], { tls: { ...TLS, root: undefined, ...tls } });
    return made.during((authorizers) => (kind === 'grpc' ? authorizers.grpc(secured).check(CHECK) : authorizers.http(secured).send(QUESTION)));
  };

  test.each(['grpc', 'http'] as const)('by %s is trusted by its authority, by the name that is expected, and shown who asks', async (kind) => {
    const { ca: root, clientCert: cert, clientKey: key } = files;
    const away = { code: 'upstream' };
    expect(await ask(kind, { root, cert, key })).toBeDefined();
    expect(await ask(kind, { root, cert, key, hostname: 'localhost' })).toBeDefined();
    expect(await ask(kind, { root, cert, key, subjectAltNames: ['localhost'] })).toBeDefined();
    expect(await ask(kind, { verify: 'nothing', cert, key })).toBeDefined();
    expect(await ask(kind, { root, cert, key, hostname: 'other.test', verify: 'chain' })).toBeDefined();
    await expect(ask(kind, { cert, key })).rejects.toMatchObject(away);
    await expect(ask(kind, { root, cert, key, hostname: 'other.test' })).rejects.toMatchObject(away);
    await expect(ask(kind, { root, cert, key, subjectAltNames: ['other.test'] })).rejects.toMatchObject(away);
    await expect(ask(kind, { root })).rejects.toMatchObject(away);
  });
});

describe('an authorizer that is a workload', () => {
  const [before, now] = [makeAuthority('before'), makeAuthority('now')];
  const ID = 'spiffe://td.test/gateway';
  let folder: string;
  let agent: WorkloadApi;
  let svids: Svids;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parley-workload-'));
    agent = await startWorkloadApi(join(folder, 'agent.sock'));
    svids = new Svids({ log: createLog({ level: 'silent', format: 'json' }), now: Date.now, updates: { add: () => undefined } });
    svids.follow(agent.endpoint);
  });
  afterAll(async () => {
    svids.close();
    await agent.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** Resolves when it is ours. */
  const rotated = (by: typeof now): Promise<void> =>
    new Promise((resolve) => {
      const stop = svids.onChange(() => {
        if (!svids.usable) return;
        stop();
        resolve();
      });
      agent.give({ ...svidOf(by, ID), bundle: svidOf(now, ID).bundle });
    });

  test.each(['grpc', 'http'] as const)('by %s is shown the SVID we have now, whatever the connection began with', async (kind) => {
    const { cert, key } = now.issue('judge', { uris: ['spiffe://td.test/judge'] });
    const served = { cert: Buffer.from(cert), key: Buffer.from(key), ca: Buffer.from(now.ca) };
    const server = kind === 'grpc' ? await startGrpcAuthorizer(() => ({ status: { code: 0 } }), 0, served) : await startHttpAuthorizer((_, response) => void response.end(), 0, served);
    undo.push(() => server.close());
    const { made } = connections({ svids });
    const secured = (names: readonly string[]): AuthorizerTarget => target(server.host, { tls: { ...TLS, root: undefined, spiffe: { trustDomain: 'td.test' }, subjectAltNames: names } });
    svids.open();
    await rotated(before);
    const ask = made.during((authorizers) => {
      const both = ['spiffe://td.test/judge', 'spiffe://td.test/other'].map((name) => (kind === 'grpc' ? authorizers.grpc(secured([name])) : authorizers.http(secured([name]))));
      return both.map((one) => () => ('check' in one ? one.check(CHECK) : one.send(QUESTION)));
    }) as [() => Promise<unknown>, () => Promise<unknown>];
    await expect(ask[0]()).rejects.toMatchObject({ code: 'upstream' });
    await rotated(now);
    expect(await ask[0]()).toBeDefined();
    await expect(ask[1]()).rejects.toMatchObject({ code: 'upstream' });
  });
});

let servers: { close(): Promise<void> }[] = [];
