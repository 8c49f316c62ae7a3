/**
 * How ingress reaches a session, wherever its actor lives: ask its subject; when nobody owns it, have a worker claim it;
 * when the connector behind it is gone, say so. Each is tried again only while nothing of an answer has come and nothing
 * was executed, so a call never runs twice.
 */
import type { Fault } from '#protocol/faults/fault.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import { sessionActor, sessionClaim } from '#protocol/subjects/session.ts';
import { NOTHING, type Bus, type Call, type Receiver } from '#host/bus/bus.ts';
import { CALL_MS, type Exchange } from './exchange.ts';

const TRIES_MAX = 4;

export interface SessionMessage {
  readonly session: string;
  readonly principal: string;
  readonly backend: string;
  readonly verb: 'deliver' | 'listen' | 'touch' | 'close';
  readonly payload?: Uint8Array;
  readonly kind?: 'request' | 'notification' | 'response';
  readonly method?: string | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly deadline: number;
  readonly traceparent?: string | undefined;
}

export function sessionMessage({ world, principal, traceparent }: Exchange, session: string, verb: SessionMessage['verb']): SessionMessage {
  return { session, principal, backend: world.backendKeys, verb, deadline: Date.now() + CALL_MS, traceparent };
}

type Remedy = { readonly kind: 'claim' } | { readonly kind: 'reopen'; readonly connector: string };

export function callSession(bus: Bus, message: SessionMessage, receiver: Receiver): Call {
  const { session, payload = NOTHING, deadline, traceparent, ...meta } = message;
  const subject = sessionActor.to({ session });
  let current: Call | undefined;
  let cancelled = false;
  const attempt = (tries: number, lost: string | undefined): void => {
    if (cancelled) return;
    let began = false;
    current = bus.call(subject, { payload, meta: { ...meta, lost }, deadline, traceparent }, {
      head: (facts) => {
        began = true;
        receiver.head?.(facts);
      },
      data: (frame) => {
        began = true;
        return receiver.data(frame);
      },
      end: (frame, facts) => receiver.end(frame, facts),
      fail: (fault) => {
        const remedy = began || tries >= TRIES_MAX ? undefined : remedyFor(fault, subject);
        if (remedy === undefined) receiver.fail(fault);
        else if (remedy.kind === 'reopen') attempt(tries + 1, remedy.connector);
        else claim(bus, message).then(() => attempt(tries + 1, lost), (refused: Fault) => receiver.fail(refused));
      },
    });
  };
  attempt(1, undefined);
  return {
    cancel: () => {
      cancelled = true;
      current?.cancel();
    },
  };
}

/** For what has one answer or none. @throws Fault */
export function askSession(bus: Bus, message: SessionMessage): Promise<Uint8Array> {
  return new Promise((resolve, reject) => callSession(bus, message, { data: () => undefined, end: resolve, fail: reject }));
}

function claim(bus: Bus, { session, principal, deadline, traceparent }: SessionMessage): Promise<Uint8Array> {
  return bus.request(sessionClaim.to({}), { payload: NOTHING, meta: { session, principal }, deadline, traceparent });
}

function remedyFor(fault: Fault, actor: string): Remedy | undefined {
  const { reason, subject = '', connector } = fault.facts;
  if (reason === 'moved') return { kind: 'claim' };
  if (reason === 'no-upstreams' && connector !== undefined) return { kind: 'reopen', connector };
  if (reason !== 'no-responders') return undefined;
  const instance = connectorRelay.parse(subject)?.instance;
  if (instance !== undefined) return { kind: 'reopen', connector: instance };
  return subject === actor ? { kind: 'claim' } : undefined;
}
