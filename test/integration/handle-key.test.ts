/** Handles of modern clients where nobody was given a key: replicas agree on one, and nobody can make up a handle. */
import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { Kvm } from '@nats-io/kv';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HANDLE_KEYS_KEY, KEYS_BUCKET } from '#protocol/records/keys.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startCommand } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { modernOf, send, type Told } from '../world/wire.ts';

const PRINCIPAL = 'anonymous';
const PLACE = JSON.stringify(['tools/list', undefined]);

let nats: NatsWorld;
let paged: MisbehavingHttp;
let one: ParleyWorld;
let other: ParleyWorld;
let bare: NatsConnection;

beforeAll(async () => {
  [nats, paged] = await Promise.all([startNats(), startMisbehaving({ era: 'both', pageSize: 5 })]);
  bare = await connect({ servers: nats.url });
  one = await startParley({ nats, config: { mcp: { targets: [{ name: 'only', mcp: { host: paged.url } }] } }, role: 'one' });
  // Local first: each ingress asks the connector beside it.
  other = await startParley({ nats, services: ['connector', 'ingress'], role: 'other', env: { PARLEY_BIND: '127.0.0.2' } });
});
afterAll(async () => {
  await other.stop();
  await one.stop();
  await bare.close();
  await Promise.all([nats.stop(), paged.close()]);
});

const urlOf = (world: ParleyWorld): string => (world === one ? one.url : one.url.replace('127.0.0.1', '127.0.0.2'));
const list = (world: ParleyWorld, cursor?: string): Promise<Told> => send(urlOf(world), modernOf('tools/list', { headers: { host: 'localhost' }, params: cursor === undefined ? {} : { cursor } }));
const cursorOf = ({ json }: Told): string => String((json?.result as { nextCursor?: string } | undefined)?.nextCursor);

const storedText = async (): Promise<string> => String((await (await new Kvm(bare).open(KEYS_BUCKET)).get(HANDLE_KEYS_KEY))?.string());

/** As connectors seal, whatever the key. */
function sealed(clusterKey: string, handle: string): string {
  const nonce = randomBytes(12);
  const key = createHmac('sha256', clusterKey).update(JSON.stringify(['', PRINCIPAL])).digest();
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(PLACE));
  return Buffer.concat([nonce, cipher.update(handle, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url');
}

test('two replicas that were given no key accept the handles of each other', async () => {
  for (const [first, second] of [[one, other], [other, one]] as const) {
    const cursor = cursorOf(await list(first));
    const names = ({ json }: Told) => (json?.result as { readonly tools: readonly { readonly name: string }[] } | undefined)?.tools.map(({ name }) => name);
    expect(names(await list(first, cursor))).toHaveLength(5);
    expect(names(await list(second, cursor))).toEqual(names(await list(first, cursor)));
    expect(names(await list(second, cursor))).not.toEqual(names(await list(second)));
  }
});

test('a handle that somebody made who knows all but the key is refused', async () => {
  const { keys } = JSON.parse(await storedText()) as { readonly keys: readonly [string] };
  // That this is how handles are made: with the key, it is one.
  expect((await list(one, sealed(keys[0], '5'))).json?.result).toMatchObject({ tools: expect.any(Array) });
  for (const guess of ['', '00'.repeat(32), PRINCIPAL]) {
    for (const world of [one, other]) expect((await list(world, sealed(guess, '5'))).json?.error).toMatchObject({ code: -32602, message: 'the cursor is not one of ours' });
  }
});

test('the key is in no log, however much is logged', async () => {
  const { keys } = JSON.parse(await storedText()) as { readonly keys: readonly [string] };
  const command = startCommand(['run', 'connector'], { NATS_URL: nats.url, PARLEY_LOG_LEVEL: 'trace' });
  await command.line(/ready after/);
  const { stdout, stderr } = await command.stop();
  expect(stdout + stderr).toContain('connector');
  expect(stdout + stderr).not.toContain(keys[0]);
});

test('the variable wins over the key that is there, and its owner may replace it with handles out', async () => {
  const [old, young] = ['ab'.repeat(32), 'cd'.repeat(32)];
  const before = await storedText();
  const third = (key: string) => startParley({ nats, services: ['connector'], role: 'third', env: { PARLEY_HANDLE_KEY: key } });
  const front = await startParley({ nats, services: ['ingress'], role: 'front', env: { PARLEY_BIND: '127.0.0.3' } });
  await Promise.all([one.stop(), other.stop()]);
  const ask = (cursor: string): Promise<Told> => send(one.url.replace('127.0.0.1', '127.0.0.3'), modernOf('tools/list', { headers: { host: 'localhost' }, params: { cursor } }));
  try {
    const during = await third(`${young},${old}`);
    expect((await ask(sealed(old, '5'))).json?.result).toMatchObject({ tools: expect.any(Array) });
    expect((await ask(sealed(young, '5'))).json?.result).toMatchObject({ tools: expect.any(Array) });
    const { keys } = JSON.parse(before) as { readonly keys: readonly [string] };
    expect((await ask(sealed(keys[0], '5'))).json?.error?.message).toBe('the cursor is not one of ours');
    await during.stop();
    expect(await storedText()).toBe(before);
  } finally {
    await front.stop();
  }
});

test('a connector does not start with a key it cannot read, and quotes none of it', async () => {
  const kv = await new Kvm(bare).open(KEYS_BUCKET);
  await kv.put(HANDLE_KEYS_KEY, JSON.stringify({ v: 1, keys: ['planted-value'] }));
  const error = await startParley({ nats, services: ['connector'], role: 'fourth' }).then(() => undefined, String);
  expect(error).toContain('is no key: remove it, or set PARLEY_HANDLE_KEY');
  expect(error).not.toContain('planted');
  await kv.delete(HANDLE_KEYS_KEY);
  const fifth = await startParley({ nats, services: ['connector'], role: 'fifth' });
  await fifth.stop();
  expect(JSON.parse(await storedText())).toEqual({ v: 1, keys: [expect.stringMatching(/^[0-9a-f]{64}$/)] });
});
