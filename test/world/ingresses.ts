/**
 * Two ingress processes on one NATS, and whatever stands behind them played by the test: what a session worker or a connector
 * would say, said when the test wants it.
 */
import type { Asked, Meta } from '#host/bus/bus.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { metaHeaders } from '#host/bus/wire.ts';
import { clock } from '#host/clock.ts';
import { encode } from '#protocol/mcp/message.ts';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';
import { SESSION_QUEUE, sessionActor, sessionStream } from '#protocol/subjects/session.ts';
import type { NatsWorld } from './nats.ts';
import { startParley, type ParleyWorld } from './parley.ts';
import { freePort } from './port.ts';
import { LEGACY } from './wire.ts';

const HOSTS = ['127.0.0.1', '127.0.0.2'] as const;
const TOLD_MS = 20_000;

type Answering = (asked: Asked<Meta>) => void;
const withNothing: Answering = ({ answer }) => answer.end(NOTHING);

export interface Ingresses {
  readonly worlds: readonly [ParleyWorld, ParleyWorld];
  readonly urls: readonly [string, string];
  readonly nats: NatsWorld;
  /** The host of whoever plays the rest. */
  readonly behind: ParleyWorld;
  /** A session whose actor answers `deliver` so, and everything else with nothing unless told otherwise. */
  session(deliver?: Answering, others?: Answering): Promise<PlayedSession>;
  /** Frames kept for all sessions. */
  kept(): Promise<number>;
  stop(): Promise<void>;
}

export interface PlayedSession {
  readonly id: string;
  readonly headers: Record<string, string>;
  /** Says something outside of any call, as an upstream does; resolves when somebody took it, and rejects with the fault otherwise. */
  say(message: object, id?: string): Promise<void>;
  stop(): void;
}

export const saying = (text: string): object => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: text } });

/** @param env of both ingress processes. */
export async function startIngresses(nats: NatsWorld, env: Readonly<Record<string, string>> = {}): Promise<Ingresses> {
  const port = await freePort();
  const routes = [{ name: 'mcp', hostnames: [...HOSTS], matches: [{ path: { pathPrefix: '/mcp' } }], backends: [{ mcp: { targets: [{ name: 'one', mcp: { host: 'http://127.0.0.1:9/mcp' } }] } }] }];
  const behind = await startParley({ config: { binds: [{ port, listeners: [{ routes }] }] }, services: ['policy'], role: 'connector', nats });
  const one = (bind: string) => startParley({ services: ['ingress'], role: 'ingress', nats, env: { PARLEY_BIND: bind, PARLEY_LAME_DUCK: '0ms', PARLEY_STATS_ADDR: '127.0.0.1:0', ...env } });
  const worlds = [await one(HOSTS[0]), await one(HOSTS[1])] as const;
  const { bus, nats: handle } = behind.host;
  return {
    worlds,
    urls: [`http://${HOSTS[0]}:${port}/mcp`, `http://${HOSTS[1]}:${port}/mcp`],
    nats,
    behind,
    kept: async () => (await handle.jsm.streams.info(REPLAY_STREAM)).state.messages,
    session: async (deliver = withNothing, others = withNothing) => {
      const id = crypto.randomUUID().replaceAll('-', '');
      const name = { principal: 'anonymous', session: id };
      const serving = bus.serve(sessionActor.to(name), (asked) => (asked.meta.verb === 'deliver' ? deliver(asked) : others(asked)), { queue: SESSION_QUEUE });
      await bus.flush();
      return {
        id,
        headers: { 'mcp-session-id': id, 'mcp-protocol-version': LEGACY },
        say: async (message, messageId) => void (await bus.request(sessionStream.to(name), { payload: encode(message), meta: { id: messageId }, deadline: clock() + TOLD_MS })),
        stop: () => serving.stop(),
      };
    },
    stop: async () => {
      for (const world of [...worlds, behind]) await world.stop();
    },
  };
}

/** Writes the log of one response, as a connector does. */
export interface PlayedLog {
  readonly stream: string;
  /** Frame 0. */
  begin(): Promise<void>;
  keep(number: number, message: object, last?: boolean): Promise<void>;
}

let logs = 0;

export function playLog(writer: ParleyWorld, session: string, id: string | number): PlayedLog {
  const stream = `p${String(logs++).padStart(16, '0')}`;
  const subject = replayFrame.to({ principal: 'anonymous', session, stream });
  const publish = async (payload: Uint8Array, meta: Readonly<Record<string, string>>): Promise<void> => {
    await writer.host.nats.js.publish(subject, payload, { headers: metaHeaders(meta) });
  };
  return {
    stream,
    begin: () => publish(NOTHING, { seq: '0', by: writer.host.bus.instance, id: JSON.stringify(id) }),
    keep: (number, message, last = false) => publish(encode(message), { seq: String(number), ...(last ? { last: '1' } : {}) }),
  };
}
