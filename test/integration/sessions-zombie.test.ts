/**
 * A session worker that is stopped (SIGSTOP) while it owns a session, and goes on after another has taken it over: it must do
 * no harm. PARLEY_TEST_ZOMBIE_MS keeps it stopped for longer than the calls take.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Kvm } from '@nats-io/kv';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OpenRecord, SESSIONS_BUCKET, readSessionRecord, sessionKey } from '#protocol/records/session.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { eventually } from '../world/parley.ts';
import { startServices, type Services } from '../world/services.ts';
import { openLegacy, rpc } from '../world/wire.ts';

const STOPPED_MS = Number(process.env['PARLEY_TEST_ZOMBIE_MS'] ?? 0);

let services: Services;
let server: MisbehavingHttp;
let url: string;

beforeAll(async () => {
  server = await startMisbehaving({ era: 'legacy' });
  services = await startServices(server.url);
  ({ url } = services);
  await Promise.all([services.start('ingress'), services.start('connector')]);
});
afterAll(async () => {
  await services.stop();
  await server.close();
});

async function recordOf(session: string): Promise<OpenRecord> {
  const entry = await (await new Kvm(services.bare).open(SESSIONS_BUCKET)).get(sessionKey('anonymous', session));
  const record = readSessionRecord(entry?.string() ?? '');
  if (record?.state !== 'open') throw new Error('the session is not open');
  return record;
}

/** How often the server was asked to do this. */
const effects = (message: string): number => server.seen.filter(({ rpc: asked }) => (asked?.params?.['arguments'] as { message?: string } | undefined)?.message === message).length;

test('a worker that was stopped and goes on does no harm: no call runs twice, the session stays with its new owner, the old one lets go', async () => {
  const zombie = await services.start('session');
  const session = await openLegacy(url);
  const { owner: zombieName } = await recordOf(session.id);
  await services.start('session');
  zombie.signal('SIGSTOP');
  const said: string[] = [];
  const say = (message: string): Promise<string | undefined> => {
    said.push(message);
    return session.call('echo', { message });
  };
  expect(await Promise.all(Array.from({ length: 5 }, (_, n) => say(`while it is stopped ${n}`)))).toEqual(said);
  expect(await say('alone')).toBe('alone');
  const taken = await recordOf(session.id);
  expect(taken).toMatchObject({ epoch: 2 });
  expect(taken.owner).not.toBe(zombieName);
  await wait(STOPPED_MS);

  const waking = Array.from({ length: 20 }, (_, n) => say(`as it wakes ${n}`));
  zombie.signal('SIGCONT');
  expect(await Promise.all(waking)).toEqual(said.slice(-20));
  await eventually('the old owner to let go', () => services.audit.map(({ data }) => data).find(({ kind, session: start }) => kind === 'session_moved' && start !== undefined && session.id.startsWith(start)));
  expect((await session.send(rpc('logging/setLevel', { level: 'error' }))).json?.error).toBeUndefined();
  expect(await Promise.all(Array.from({ length: 20 }, (_, n) => say(`afterwards ${n}`)))).toEqual(said.slice(-20));
  expect(await recordOf(session.id)).toMatchObject({ epoch: 2, owner: taken.owner, logLevel: 'error' });
  for (const message of said) expect(effects(message), message).toBe(1);
}, 60_000 + STOPPED_MS);
