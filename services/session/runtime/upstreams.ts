/** The session's side of opening its upstreams: at the start, and again when the connector that held them is gone. */
import { setTimeout as delay } from 'node:timers/promises';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { decode, parseJson } from '#protocol/mcp/message.ts';
import type { OpenRecord } from '#protocol/records/session.ts';
import { type OpenedUpstreams, type SessionAdoption, connectorClose, connectorOpen, connectorRelay, openedUpstreams } from '#protocol/subjects/connector.ts';
import { NOTHING, type Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';

/** One that reached a connector which is stopped is tried again, as often as it may be asked in its turn before that is noticed. */
const TRIES_MAX = 10;
/** How long there may be no connector at all: all of them may be on their way to another NATS server. */
const ABSENT_MS = 1_000;
const ASK_AGAIN_MS = 50;
/** A connector whose NATS server was stopped has another by then (host/nats/connect.ts). */
const HOLDS_MS = 2_000;
/** For adopting what is only to be closed. */
const CLOSE_MS = 15_000;

export interface Opening {
  readonly session: string;
  readonly principal: string;
  readonly route: string;
  readonly backend: string;
  readonly initialize: Uint8Array;
  readonly deadline: number;
  /** Sealed: who opens (caller.ts). Passed on, never kept. */
  readonly caller?: string | undefined;
  /** What the lost connector had opened, and the client had set there. */
  readonly adopt?: SessionAdoption;
}

export interface Opened {
  readonly upstreams: OpenedUpstreams;
  /** The initialize response for the client. */
  readonly response: Uint8Array;
}

/** By any connector of the backend; by another when it is lost on the way, since to open twice does no harm. */
export async function openUpstreams(bus: Bus, opening: Opening): Promise<Opened> {
  const absentUntil = clock() + ABSENT_MS;
  for (let lost = 0; ; ) {
    try {
      return await openOnce(bus, opening);
    } catch (error) {
      const { reason } = asFault(error).facts;
      if (reason === 'lost' && ++lost < TRIES_MAX) continue;
      if (reason !== 'no-responders' || clock() >= absentUntil) throw error;
      await delay(ASK_AGAIN_MS);
    }
  }
}

function openOnce(bus: Bus, opening: Opening): Promise<Opened> {
  const { session, principal, route, backend, initialize, deadline, caller } = opening;
  const adopt = opening.adopt === undefined ? undefined : JSON.stringify(opening.adopt);
  return new Promise((resolve, reject) => {
    let upstreams: OpenedUpstreams | undefined;
    bus.call(connectorOpen.to({ backend }), { payload: initialize, meta: { session, principal, route, caller, adopt }, deadline }, {
      data: (payload) => {
        upstreams = openedUpstreams.parse(parseJson(payload));
      },
      end: (response) => {
        if (upstreams === undefined) reject(new Fault('bug', 'upstreams were opened without being told'));
        else resolve({ upstreams, response });
      },
      fail: reject,
    });
  });
}

/** The same upstreams for the same client, held by another connector. */
export function reopening(session: string, record: OpenRecord, deadline: number): Opening {
  const { principal, route, backend, upstreams, initialized, logLevel, subscriptions, listening } = record;
  const { connector, version, targets } = upstreams;
  const adopt = { connector, version, targets, initialized, logLevel, subscriptions, listening };
  return { session, principal, route, backend, initialize: Buffer.from(record.initialize, 'utf8'), deadline, adopt };
}

/** Whether a connector says that it holds them. Never throws: one that does not answer does not hold them for anybody. */
export async function areHeld(bus: Bus, session: string, connector: string): Promise<boolean> {
  const deadline = clock() + HOLDS_MS;
  while (clock() < deadline) {
    try {
      await bus.request(connectorRelay.to({ instance: connector }), { payload: NOTHING, meta: { verb: 'holds', session }, deadline });
      return true;
    } catch (error) {
      if (asFault(error).facts['reason'] !== 'lost') return false;
    }
  }
  return false;
}

/** They can be gone on with from what the record says: no child process dies with them, and nobody hears what they say meanwhile. */
export const canBeForgotten = ({ listening, upstreams }: Pick<OpenRecord, 'listening' | 'upstreams'>): boolean =>
  !listening && Object.values(upstreams.targets).every(({ session }) => session !== null);

/** The connector lets go of them without a word to the servers: another has gone on with them, or the session rests. */
export function forgetUpstreams(bus: Bus, session: string, connector: string, why: 'handedOver' | 'resting'): void {
  bus.send(connectorClose.to({ instance: connector }), { payload: NOTHING, meta: { session, [why]: '1' } });
}

/** Forgotten ones are adopted first, by a connector that can tell the servers. Fails without a word: servers forget, too. */
export async function closeUpstreams(bus: Bus, session: string, record: OpenRecord): Promise<void> {
  let { connector } = record.upstreams;
  if (record.forgotten) {
    const opened = await openUpstreams(bus, reopening(session, record, clock() + CLOSE_MS)).catch(() => undefined);
    if (opened === undefined) return;
    ({ connector } = opened.upstreams);
  }
  bus.send(connectorClose.to({ instance: connector }), { payload: NOTHING, meta: { session } });
}

export const initializeText = (payload: Uint8Array): string => decode(payload);
