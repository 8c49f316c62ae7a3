/** What the contracts of the session store are told with: records, addresses, and the two doors of an implementation. */
import type { OpenRecord } from '#protocol/records/session.ts';
import type { Listed } from '../../services/session/runtime/listing.ts';
import type { Held, SessionAddress, SessionStore } from '../../services/session/runtime/store.ts';

export interface OpenedStore {
  readonly store: SessionStore;
  /** A second door to the same records, as another worker has it. */
  readonly elsewhere: SessionStore;
  close(): Promise<void>;
}

export const newSession = (): string => crypto.randomUUID();

export const addressOf = (session: string, principal = 'anonymous'): SessionAddress => ({ session, principal });

export const recordOf = (changes: Partial<OpenRecord> = {}): OpenRecord => ({
  v: 2,
  state: 'open',
  principal: 'anonymous',
  route: 'default',
  backend: 'mcp',
  owner: 'worker-1',
  epoch: 1,
  openedAt: 1_000,
  seenAt: 1_000,
  initialize: '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"clientInfo":{"name":"täglich 🦜"}}}',
  initialized: false,
  listening: false,
  logLevel: null,
  subscriptions: [],
  upstreams: {
    connector: 'connector-1',
    version: '2025-11-25',
    targets: { one: { session: 's', version: '2025-11-25', capabilities: { tools: {} } }, two: { session: null, version: '2025-11-25', capabilities: {} } },
  },
  ...changes,
});

/** Takes a session over at whatever is stored of it, whoever owns it. */
export async function takeOver(store: SessionStore, session: string, owner: string): Promise<Held> {
  const stored = await store.read(addressOf(session));
  if (stored?.record.state !== 'open') throw new Error('there is nothing to take over');
  const held = await store.claim(session, { record: stored.record, revision: stored.revision }, owner);
  if (held === undefined) throw new Error('somebody else was faster');
  return held;
}

export async function listed(store: SessionStore, options?: Parameters<SessionStore['list']>[0]): Promise<Listed[]> {
  const all: Listed[] = [];
  for await (const one of store.list(options)) all.push(one);
  return all;
}

export interface Created extends Held {
  readonly session: string;
}

export async function created(store: SessionStore, changes: Partial<OpenRecord> = {}): Promise<Created> {
  const session = newSession();
  const record = recordOf(changes);
  return { session, record, revision: await store.create(session, record) };
}
