/** The users of deploy/nats/users.conf on a real server: what each may do is enough, and what it may not do is refused. */
import { errors, type NatsConnection } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import * as Effect from 'effect/Effect';
import * as Exit from 'effect/Exit';
import * as Scope from 'effect/Scope';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { applyLayout } from '#deploy/nats/apply.ts';
import { BUCKETS, STREAMS } from '#deploy/nats/layout.ts';
import { inboxPrefixOf, type User } from '#deploy/nats/permissions.ts';
import { natsHandle } from '#host/nats/handle.ts';
import { openHost, type OpenedHost } from '#host/open.ts';
import { readSettings } from '#host/settings.ts';
import { audited } from '#protocol/audit/subjects.ts';
import { CONFIG_BUCKET, CONFIG_KEY } from '#protocol/records/config.ts';
import { CONFIG_KEYS_BUCKET, CONFIG_KEYS_KEY, HANDLE_KEYS_KEY, KEYS_BUCKET } from '#protocol/records/keys.ts';
import { PINS_BUCKET, pinsKey } from '#protocol/records/tool-pins.ts';
import { sessionKey, SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { connectorCall, connectorClose, connectorOpen, connectorRelay } from '#protocol/subjects/connector.ts';
import { control, inbox } from '#protocol/subjects/frames.ts';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';
import { sessionActor, sessionClaim, sessionOpen, sessionStream, sessionWorker } from '#protocol/subjects/session.ts';
import { sharedKeys } from '#host/nats/shared-keys.ts';
import { runCommand, startCommand } from '../world/command.ts';
import { passwordOf, startNatsWithUsers, type UsersWorld } from '../world/nats-users.ts';

const ANSWER_MS = 2_000;

let world: UsersWorld;
let scope: Scope.Closeable;

beforeAll(async () => {
  world = await startNatsWithUsers();
});
afterAll(() => world.stop());
beforeEach(() => {
  scope = Effect.runSync(Scope.make());
});
afterEach(() => Effect.runPromise(Scope.close(scope, Exit.void)));

function open(role: string, user: User): Promise<OpenedHost> {
  const settings = readSettings({ PARLEY_LOG_LEVEL: 'silent', PARLEY_STATS_ADDR: 'off', PARLEY_NATS_WAIT: '5s', ...world.env(user) });
  return Effect.runPromise(Scope.provide(openHost({ role, settings, natsUrl: world.url, env: {} }), scope));
}

describe('before the operator has applied the layout', () => {
  test('a service stops, and says what is to be done', async () => {
    await expect(open('connector', 'connector')).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/AUDIT is not there.*parley-sessions is not there.*may not change it: run `parley nats apply` as the operator/),
    });
  });

  test('nobody but the operator can apply it', async () => {
    const refused = await runCommand(['nats', 'apply'], world.env('session'));
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('does not let this user subscribe _INBOX_operator.') });
    const connection = await connect({ servers: world.url, user: 'parley', pass: passwordOf('parley'), inboxPrefix: inboxPrefixOf('parley') });
    const { jsm } = await natsHandle(connection);
    await expect(applyLayout(jsm)).rejects.toMatchObject({ code: 'denied', message: expect.stringMatching(/may not create or change AUDIT, .*: connect as the operator/) });
    await connection.close();
    const applied = await runCommand(['nats', 'apply'], world.env('operator'));
    expect(applied.stdout.match(/created/g)).toHaveLength(STREAMS.length + BUCKETS.length);
    expect(applied.code).toBe(0);
    const refusedCopies = await runCommand(['nats', 'apply', '--replicas', '3'], world.env('operator'));
    expect(refusedCopies).toMatchObject({ code: 1, stderr: expect.stringContaining('this NATS server is not part of a cluster') });
  });
});

describe('once it is applied', () => {
  test.each([
    ['ingress', 'ingress'],
    ['policy', 'policy'],
    ['session', 'session'],
    ['connector', 'connector'],
    ['up', 'parley'],
    ['session-connector', 'parley'],
  ] as const)('a process of role %s starts as user %s', async (role, user) => {
    const host = await open(role, user);
    expect(host.applied.every(({ outcome }) => outcome === 'unchanged' || outcome === 'unchecked')).toBe(true);
    host.audit.record({ kind: 'call_allowed' });
    await host.bus.flush();
  });

  test('what an operator has tuned is kept by services, and what they rely on must be as it was', async () => {
    const { nats } = await open('operator', 'operator');
    const stream = `KV_${SESSIONS_BUCKET}`;
    await nats.jsm.streams.update(REPLAY_STREAM, { max_msgs_per_subject: 100_000 });
    const { applied } = await open('ingress', 'ingress');
    expect(applied).toContainEqual({ name: REPLAY_STREAM, outcome: 'differs', changes: ['max_msgs_per_subject'] });
    await nats.jsm.streams.update(stream, { allow_direct: false });
    await expect(open('session', 'session')).rejects.toMatchObject({ code: 'invalid', message: expect.stringMatching(/parley-sessions has another allow_direct/) });
    expect((await runCommand(['nats', 'apply'], world.env('operator'))).code).toBe(0);
    expect((await open('session', 'session')).applied.every(({ outcome }) => outcome !== 'differs')).toBe(true);
  });

  test('the session service reads and writes its records, the policy service the configuration, and everybody reads that', async () => {
    const session = await open('session', 'session');
    const key = sessionKey('anonymous', 's1');
    const records = await session.nats.kv(SESSIONS_BUCKET);
    const revision = await records.create(key, 'one');
    await records.update(key, 'two', revision);
    expect((await session.nats.directGet(SESSIONS_BUCKET, key))?.string()).toBe('two');
    const policy = await open('policy', 'policy');
    await (await policy.nats.kv(CONFIG_BUCKET)).put(CONFIG_KEY, '{}');
    const connector = await open('connector', 'connector');
    const entry = await (await connector.nats.kv(CONFIG_BUCKET)).get(CONFIG_KEY);
    expect(entry?.string()).toBe('{}');
  });

  test('the connector reads, writes and follows the pins of tools', async () => {
    const { nats } = await open('connector', 'connector');
    const pins = await nats.kv(PINS_BUCKET);
    const revision = await pins.create(pinned, 'one');
    await pins.update(pinned, 'two', revision);
    expect((await pins.get(pinned))?.string()).toBe('two');
    for await (const entry of await pins.watch({ key: pinned })) {
      expect(entry.string()).toBe('two');
      break;
    }
  });

  test('the operator approves of tools, and says so', async () => {
    const { nats } = await open('operator', 'operator');
    await (await nats.kv(PINS_BUCKET)).put(pinned, 'three');
    const told = audited.to({ kind: 'tool_approved', route: '_', target: 't' });
    nats.connection.publish(told, '{}');
    await nats.connection.flush();
    expect((await nats.jsm.streams.getMessage('AUDIT', { last_by_subj: told }))?.string()).toBe('{}');
  });

  test('connectors share a key that none of them was given', async () => {
    const [one, other] = [await open('connector', 'connector'), await open('connector', 'connector')];
    const keys = await Promise.all([one, other].map(({ nats }) => sharedKeys(nats, HANDLES)));
    expect(keys[0]?.map((key) => key.reveal())).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
    expect(keys[1]?.[0].reveal()).toBe(keys[0]?.[0].reveal());
    const ingress = await open('ingress', 'ingress');
    await expect(sharedKeys(ingress.nats, HANDLES)).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('may not read the bucket parley-keys') });
  });

  test('connectors read the key that the policy service draws for secrets of the configuration, and draw none', async () => {
    const [connector, policy, ingress] = [await open('connector', 'connector'), await open('policy', 'policy'), await open('ingress', 'ingress')];
    await expect(sharedKeys(connector.nats, { ...CONFIG_KEYS, draws: false })).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('has no key under config: set PARLEY_CONFIG_KEY') as string });
    const [drawn] = await sharedKeys(policy.nats, CONFIG_KEYS);
    expect((await sharedKeys(connector.nats, { ...CONFIG_KEYS, draws: false }))[0].reveal()).toBe(drawn.reveal());
    await expect(sharedKeys(ingress.nats, CONFIG_KEYS)).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('may not read the bucket parley-config-keys') as string });
  });

  test('an audit reader follows the audit stream', async () => {
    const { audit } = await open('ingress', 'ingress');
    audit.record({ kind: 'call_denied', reason: 'for the reader' });
    const reader = startCommand(['audit', 'tail', '--since', '1h', '--json'], world.env('audit'));
    expect(await reader.line(/for the reader/)).toContain('call_denied');
    expect((await reader.stop()).code).toBe(0);
    const plain = await connect({ servers: world.url, user: 'audit', pass: passwordOf('audit') });
    const denied = plain.subscribe('audit.call_denied.>', { max: 1 });
    await plain.flush();
    audit.record({ kind: 'call_denied' });
    for await (const message of denied) expect(audited.parse(message.subject)).toMatchObject({ kind: 'call_denied' });
    await plain.close();
  });
});

const HANDLES = { bucket: KEYS_BUCKET, key: HANDLE_KEYS_KEY, variable: 'PARLEY_HANDLE_KEY', draws: true };
const CONFIG_KEYS = { bucket: CONFIG_KEYS_BUCKET, key: CONFIG_KEYS_KEY, variable: 'PARLEY_CONFIG_KEY', draws: true };

type Operation = 'publish' | 'subscribe';
const record = `$KV.${SESSIONS_BUCKET}.${sessionKey('anonymous', 's1')}`;
const sessionsApi = (call: string, rest = ''): string => `$JS.API.${call}.KV_${SESSIONS_BUCKET}${rest}`;
const pinned = pinsKey({ backend: 'b', target: 't' });
const bySession = { principal: 'anonymous', session: 's1' };

const FORBIDDEN: readonly (readonly [User, string, Operation, string])[] = [
  ['connector', 'read a session record', 'publish', sessionsApi('STREAM.MSG.GET')],
  ['connector', 'read a session record from a replica', 'publish', sessionsApi('DIRECT.GET', `.${record}`)],
  ['connector', 'follow session records', 'publish', sessionsApi('CONSUMER.CREATE', `.mine.${record}`)],
  ['connector', 'list session ids', 'publish', sessionsApi('STREAM.INFO')],
  ['connector', 'list session ids of replay logs', 'publish', `$JS.API.STREAM.INFO.${REPLAY_STREAM}`],
  ['connector', 'read replay logs', 'publish', `$JS.API.CONSUMER.CREATE.${REPLAY_STREAM}.mine`],
  ['connector', 'hear session records as they are written', 'subscribe', `$KV.${SESSIONS_BUCKET}.>`],
  ['connector', 'write a session record', 'publish', record],
  ['connector', 'change the configuration', 'publish', `$KV.${CONFIG_BUCKET}.${CONFIG_KEY}`],
  ['connector', 'speak to a session as ingress does', 'publish', sessionActor.to(bySession)],
  ['connector', 'open a session as ingress does', 'publish', sessionOpen.to({})],
  ['connector', 'have a session claimed', 'publish', sessionClaim.to({})],
  ['connector', 'speak to a session worker', 'publish', sessionWorker.to({ instance: 'session-1' })],
  ['connector', 'serve sessions', 'subscribe', sessionActor.to(bySession)],
  ['connector', "listen to ingress's answers", 'subscribe', inbox.filter.replace('*', 'ingress')],
  ['connector', "listen to everybody's answers", 'subscribe', inbox.filter],
  ['connector', "take credit meant for another service", 'subscribe', control.filter.replace('*', 'ingress')],
  ['connector', "listen to what JetStream tells the session service", 'subscribe', `${inboxPrefixOf('session')}.>`],
  ['connector', 'listen to any inbox', 'subscribe', '_INBOX.>'],
  ['connector', 'take what was meant for a client', 'subscribe', sessionStream.to(bySession)],
  ['connector', 'follow the audit stream', 'subscribe', audited.filter],
  ['connector', 'listen to everything', 'subscribe', '>'],
  ['connector', 'delete a stream', 'publish', '$JS.API.STREAM.DELETE.AUDIT'],
  ['connector', 'purge a stream', 'publish', '$JS.API.STREAM.PURGE.AUDIT'],
  ['connector', 'make a stream that copies another', 'publish', '$JS.API.STREAM.CREATE.MINE'],
  ...(['ingress', 'session', 'policy', 'audit'] as const).flatMap((user) => [
    [user, 'read the key of handles', 'publish', `$JS.API.STREAM.MSG.GET.KV_${KEYS_BUCKET}`] as const,
    [user, 'read the key of handles in passing', 'publish', `$JS.API.CONSUMER.CREATE.KV_${KEYS_BUCKET}.mine`] as const,
    [user, 'set the key of handles', 'publish', `$KV.${KEYS_BUCKET}.${HANDLE_KEYS_KEY}`] as const,
    [user, 'hear the key of handles as it is set', 'subscribe', `$KV.${KEYS_BUCKET}.>`] as const,
  ]),
  ...(['ingress', 'session', 'audit'] as const).map((user) => [user, 'read the key of the configuration', 'publish', `$JS.API.STREAM.MSG.GET.KV_${CONFIG_KEYS_BUCKET}`] as const),
  ['connector', 'set the key of the configuration', 'publish', `$KV.${CONFIG_KEYS_BUCKET}.${CONFIG_KEYS_KEY}`],
  ['connector', 'hear the key of handles as it is set', 'subscribe', `$KV.${KEYS_BUCKET}.>`],
  ['ingress', 'read pins of tools', 'publish', `$JS.API.STREAM.MSG.GET.KV_${PINS_BUCKET}`],
  ['ingress', 'approve of a tool', 'publish', `$KV.${PINS_BUCKET}.${pinned}`],
  ['session', 'approve of a tool', 'publish', `$KV.${PINS_BUCKET}.${pinned}`],
  ['policy', 'approve of a tool', 'publish', `$KV.${PINS_BUCKET}.${pinned}`],
  ['audit', 'read pins of tools', 'publish', `$JS.API.DIRECT.GET.KV_${PINS_BUCKET}.$KV.${PINS_BUCKET}.${pinned}`],
  ['operator', 'make up what a service decided', 'publish', audited.to({ kind: 'call_allowed', route: '_', target: '_' })],
  ['ingress', 'read a session record', 'publish', sessionsApi('STREAM.MSG.GET')],
  ['ingress', 'read a session record from a replica', 'publish', sessionsApi('DIRECT.GET', `.${record}`)],
  ['ingress', 'write a session record', 'publish', record],
  ['ingress', 'open upstreams', 'publish', connectorOpen.to({ backend: 'b' })],
  ['ingress', "close a session's upstreams", 'publish', connectorClose.to({ instance: 'connector-1' })],
  ['ingress', 'speak to upstreams past the session', 'publish', connectorRelay.to({ instance: 'connector-1' })],
  ['ingress', 'serve as a connector', 'subscribe', connectorCall.to({ backend: 'b' })],
  ['ingress', 'change the configuration', 'publish', `$KV.${CONFIG_BUCKET}.${CONFIG_KEY}`],
  ['session', 'change the configuration', 'publish', `$KV.${CONFIG_BUCKET}.${CONFIG_KEY}`],
  ['session', 'write what a client is to be told', 'publish', replayFrame.to({ ...bySession, stream: 'p1' })],
  ['session', 'read replay logs', 'publish', `$JS.API.CONSUMER.CREATE.${REPLAY_STREAM}.mine`],
  ['session', 'delete its own bucket', 'publish', sessionsApi('STREAM.DELETE')],
  ['policy', 'read a session record', 'publish', sessionsApi('STREAM.MSG.GET')],
  ['policy', 'speak to a session', 'publish', sessionActor.to(bySession)],
  ['policy', 'call an upstream', 'publish', connectorCall.to({ backend: 'b' })],
  ['parley', 'delete a stream', 'publish', '$JS.API.STREAM.DELETE.AUDIT'],
  ['operator', 'speak to a session as a client', 'publish', sessionActor.to(bySession)],
  ['operator', 'call an upstream', 'publish', connectorCall.to({ backend: 'b' })],
  ['operator', "listen to clients' answers", 'subscribe', inbox.filter.replace('*', 'ingress')],
  ['audit', 'write an audit event', 'publish', audited.to({ kind: 'call_allowed', route: '_', target: '_' })],
  ['audit', 'read a session record', 'publish', sessionsApi('STREAM.MSG.GET')],
  ['audit', 'delete the audit stream', 'publish', '$JS.API.STREAM.DELETE.AUDIT'],
  ['audit', 'speak to a session', 'publish', sessionActor.to(bySession)],
  ['audit', "listen to the operator's answers", 'subscribe', `${inboxPrefixOf('operator')}.>`],
];

/** The server's word on it; undefined = it let it pass. */
async function refusal(connection: NatsConnection, operation: Operation, subject: string): Promise<string | undefined> {
  const refused = Promise.withResolvers<string | undefined>();
  const about = (error: unknown): void => {
    if (error instanceof errors.PermissionViolationError && error.subject === subject) refused.resolve(error.operation);
  };
  void (async () => {
    for await (const status of connection.status()) if (status.type === 'error') about(status.error);
  })();
  if (operation === 'publish') connection.publish(subject);
  else connection.subscribe(subject, { callback: () => undefined });
  await connection.flush();
  const late = setTimeout(() => refused.resolve(undefined), ANSWER_MS);
  const said = await refused.promise;
  clearTimeout(late);
  return said;
}

describe('a user', () => {
  const connections = new Map<User, Promise<NatsConnection>>();
  const as = (user: User): Promise<NatsConnection> => {
    const already = connections.get(user);
    if (already !== undefined) return already;
    const opening = connect({ servers: world.url, user, pass: passwordOf(user), inboxPrefix: inboxPrefixOf(user) });
    connections.set(user, opening);
    return opening;
  };
  afterAll(async () => {
    for (const connection of connections.values()) await (await connection).close();
  });

  test.each(FORBIDDEN)('%s cannot %s (%s %s)', async (user, _what, operation, subject) => {
    expect(await refusal(await as(user), operation, subject)).toBe(operation === 'publish' ? 'publish' : 'subscription');
  });

  test('without a password is nobody', async () => {
    await expect(connect({ servers: world.url, user: 'operator', pass: 'wrong' })).rejects.toBeInstanceOf(errors.AuthorizationError);
    await expect(connect({ servers: world.url })).rejects.toBeInstanceOf(errors.AuthorizationError);
  });
});
