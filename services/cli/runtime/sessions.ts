/** Sessions from their records in KV, without loading one; and having them closed by the workers that own them. */
import { randomBytes } from 'node:crypto';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { decode } from '#protocol/mcp/message.ts';
import type { OpenRecord } from '#protocol/records/session.ts';
import { sessionClaim, sessionWorker } from '#protocol/subjects/session.ts';
import { NOTHING, type Bus } from '#host/bus/bus.ts';
import { createNatsBus } from '#host/bus/nats.ts';
import { clock } from '#host/clock.ts';
import type { NatsHandle } from '#host/host.ts';
import { eachAtOnce } from '../../session/runtime/at-once.ts';
import { type Listed, type ListOptions, listSessions } from '../../session/runtime/listing.ts';
import { CommandError } from '../core/exit.ts';
import { ID_CHARS, factsOf, shownRecord } from '../core/session-facts.ts';
import { sessionHead, sessionLine } from '../show/session-line.ts';
import { type NatsSession, withNats } from './nats-session.ts';
import { colorsFor, print, say } from './terminal.ts';

/** A claim may wait for the election of a leader. */
const CLAIM_MS = 12_000;
const KILL_MS = 15_000;
/** The owner may change, or die, between being named and being told. */
const TRIES_MAX = 4;
const KILLING_MAX = 32;

export interface Place {
  readonly dataDir: string | undefined;
}

export interface ListQuestion extends Place {
  readonly principal: string | undefined;
  readonly route: string | undefined;
  readonly olderMs: number | undefined;
  readonly limit: number | undefined;
  readonly json: boolean;
}

type OpenListed = Listed & { readonly record: OpenRecord };

const isOpen = (one: Listed): one is OpenListed => one.record?.state === 'open';

/** Everybody's place to work: the operator's rights, on NATS_URL or beside a `parley up`. */
const withSessions = <T>({ dataDir }: Place, work: (session: NatsSession) => Promise<T>): Promise<T> => withNats({ dataDir: { given: dataDir } }, work);

/** What is written while it is listed would come twice. */
async function* eachOnce(nats: NatsHandle, options: ListOptions): AsyncIterable<Listed> {
  const seen = new Set<string>();
  for await (const one of listSessions(nats, options)) {
    if (seen.has(one.session)) continue;
    seen.add(one.session);
    yield one;
  }
}

export const listToTerminal = (question: ListQuestion): Promise<void> =>
  withSessions(question, async ({ nats }) => {
    const { principal, limit = Number.POSITIVE_INFINITY, json } = question;
    const colors = colorsFor(process.stdout);
    let shown = 0;
    for await (const one of eachOnce(nats, { principal })) {
      if (!isWanted(one, question)) continue;
      if (shown === limit) return say(`there are more than ${limit}`);
      if (shown === 0 && !json) print(sessionHead());
      const facts = factsOf(one.session, one.record);
      print(json ? JSON.stringify(facts) : sessionLine(facts, Date.now(), colors));
      shown += 1;
    }
    if (shown === 0) say('no session');
  });

function isWanted(one: Listed, { route, olderMs = 0 }: ListQuestion): boolean {
  if (!isOpen(one)) return one.record === undefined && route === undefined;
  return (route === undefined || one.record.route === route) && Date.now() - one.record.seenAt >= olderMs;
}

export const showSession = (prefix: string, { full, json, ...place }: Place & { readonly full: boolean; readonly json: boolean }): Promise<void> =>
  withSessions(place, async ({ nats }) => {
    const { session, record } = one(prefix, (await find(nats, [prefix])).get(prefix));
    if (record === undefined) throw new CommandError(`the record of session ${shown(session)} cannot be read`);
    print(json ? JSON.stringify(shownRecord(session, record, full)) : JSON.stringify(shownRecord(session, record, full), null, 2));
  });

/** Sessions whose ids begin with these words. */
async function find(nats: NatsHandle, prefixes: readonly string[]): Promise<ReadonlyMap<string, readonly Listed[]>> {
  const found = new Map<string, Listed[]>(prefixes.map((prefix) => [prefix, []]));
  for await (const listed of eachOnce(nats, {})) for (const [prefix, those] of found) if (listed.session.startsWith(prefix)) those.push(listed);
  return found;
}

/** @throws CommandError when it is none, or several. */
function one(prefix: string, found: readonly Listed[] = []): Listed {
  const [first, ...more] = found;
  if (first === undefined) throw new CommandError(`no session begins with ${shown(prefix)}`);
  if (more.length > 0) throw new CommandError(`${found.length} sessions begin with ${shown(prefix)}: say more of the id`);
  return first;
}

export interface KillQuestion extends Place {
  /** Beginnings of ids. */
  readonly ids: readonly string[];
  /** Undefined, with no ids = everybody's. */
  readonly principal: string | undefined;
  readonly json: boolean;
}

export const killSessions = (question: KillQuestion): Promise<void> =>
  withSessions(question, async ({ nats }) => {
    const { targets, problems } = await named(nats, question);
    const bus = createNatsBus({ connection: nats.connection, instance: `cli-${randomBytes(6).toString('hex')}`, onBug: (error) => say(String(error)) });
    let killed = 0;
    await eachAtOnce(targets, KILLING_MAX, async ({ session, record }) => {
      try {
        await kill(bus, session, record.principal);
        print(question.json ? JSON.stringify({ id: shown(session), principal: record.principal, killed: true }) : `killed ${shown(session)}`);
        killed += 1;
      } catch (error) {
        problems.push({ id: shown(session), why: `session ${shown(session)} was not killed: ${whyNot(asFault(error))}` });
      }
    });
    await bus.drain(clock());
    for (const { id, why } of problems) {
      if (question.json) print(JSON.stringify({ id, killed: false, reason: why }));
      else say(why);
    }
    if (problems.length > 0) throw new CommandError(`${problems.length} of ${problems.length + killed} were not killed`);
    say(killed === 0 ? 'no session to kill' : `${killed} ${killed === 1 ? 'session' : 'sessions'} killed`);
  });

interface NotKilled {
  readonly id: string;
  readonly why: string;
}

async function named(nats: NatsHandle, { ids, principal }: KillQuestion): Promise<{ readonly targets: OpenListed[]; readonly problems: NotKilled[] }> {
  const targets = new Map<string, OpenListed>();
  const problems: NotKilled[] = [];
  if (ids.length === 0) for await (const listed of eachOnce(nats, { principal })) if (isOpen(listed)) targets.set(listed.session, listed);
  for (const [prefix, found] of ids.length === 0 ? [] : await find(nats, ids)) {
    try {
      const listed = one(prefix, found);
      if (isOpen(listed)) targets.set(listed.session, listed);
      else problems.push({ id: shown(prefix), why: `session ${shown(prefix)} is ${listed.record === undefined ? 'unreadable' : 'closed already'}` });
    } catch (error) {
      problems.push({ id: shown(prefix), why: (error as CommandError).message });
    }
  }
  return { targets: [...targets.values()], problems };
}

/** By its owner, who tells everybody else; a session nobody owns is claimed for it. Gone already is as good. */
async function kill(bus: Bus, session: string, principal: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      const owner = decode(await bus.request(sessionClaim.to({}), { payload: NOTHING, meta: { session, principal }, deadline: clock() + CLAIM_MS }));
      await bus.request(sessionWorker.to({ instance: owner }), { payload: NOTHING, meta: { verb: 'kill', session, principal }, deadline: clock() + KILL_MS });
      return;
    } catch (error) {
      const fault = asFault(error);
      if (isGone(fault)) return;
      if (tries === TRIES_MAX || !mayPass(fault)) throw fault;
    }
  }
}

const isGone = ({ code, facts }: Fault): boolean => code === 'gone' && facts['reason'] === undefined;

/** The owner is another by now, or died. */
const mayPass = ({ facts: { reason, subject = '' } }: Fault): boolean =>
  reason === 'moved' || reason === 'lost' || (reason === 'no-responders' && sessionWorker.parse(subject) !== undefined);

const whyNot = ({ code, facts, message }: Fault): string =>
  code === 'gone' && facts['reason'] === 'no-responders' ? 'no session worker runs (parley run session)' : message;

const shown = (session: string): string => session.slice(0, ID_CHARS);
