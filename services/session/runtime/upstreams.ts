/** The session's side of opening its upstreams: at the start, and again when the connector that held them is gone. */
import { Fault } from '#protocol/faults/fault.ts';
import { decode, encode, parseJson } from '#protocol/mcp/message.ts';
import type { OpenRecord } from '#protocol/records/session.ts';
import { type OpenedUpstreams, connectorClose, connectorOpen, connectorRelay, openedUpstreams } from '#protocol/subjects/connector.ts';
import { NOTHING, type Bus } from '#host/bus/bus.ts';

const REPLAY_MS = 15_000;

export interface Opening {
  readonly session: string;
  readonly principal: string;
  readonly route: string;
  readonly backend: string;
  readonly initialize: Uint8Array;
  readonly deadline: number;
}

export interface Opened {
  readonly upstreams: OpenedUpstreams;
  /** The initialize response for the client. */
  readonly response: Uint8Array;
}

export function openUpstreams(bus: Bus, opening: Opening): Promise<Opened> {
  const { session, principal, route, backend, initialize, deadline } = opening;
  return new Promise((resolve, reject) => {
    let upstreams: OpenedUpstreams | undefined;
    bus.call(connectorOpen.to({ backend }), { payload: initialize, meta: { session, principal, route }, deadline }, {
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

/** Says again to new upstreams what the client had said to the lost ones. */
export async function replay(
  bus: Bus,
  session: string,
  record: Pick<OpenRecord, 'initialized' | 'logLevel' | 'subscriptions' | 'upstreams'>,
  listening: boolean,
): Promise<void> {
  const subject = connectorRelay.to({ instance: record.upstreams.connector });
  const deadline = Date.now() + REPLAY_MS;
  if (record.initialized) {
    const payload = encode({ jsonrpc: '2.0', method: 'notifications/initialized' });
    await bus.request(subject, { payload, meta: { verb: 'relay', session, kind: 'notification', method: 'notifications/initialized' }, deadline });
  }
  if (listening) await bus.request(subject, { payload: NOTHING, meta: { verb: 'listen', session }, deadline });
  const requests = [
    ...(record.logLevel === null ? [] : [{ method: 'logging/setLevel', params: { level: record.logLevel } }]),
    ...record.subscriptions.map((uri) => ({ method: 'resources/subscribe', params: { uri } })),
  ];
  for (const [index, { method, params }] of requests.entries()) {
    const id = `parley-replay-${index}`;
    const payload = encode({ jsonrpc: '2.0', id, method, params });
    await bus.request(subject, { payload, meta: { verb: 'relay', session, kind: 'request', method, id: JSON.stringify(id) }, deadline });
  }
}

export function closeUpstreams(bus: Bus, session: string, upstreams: OpenedUpstreams): void {
  bus.send(connectorClose.to({ instance: upstreams.connector }), { payload: NOTHING, meta: { session } });
}

export const initializeText = (payload: Uint8Array): string => decode(payload);
