/**
 * One legacy MCP session.
 *
 *   ready ──upstreamsLost──▶ reopening ──upstreamsOpened, or reopenFailed──▶ ready
 *     └──────closeAsked, or ticked when idle too long──────▶ closed
 *
 * M1 No `after`, `invoke` or `spawn`: time and I/O arrive as events, so a stored record is the whole machine.
 * M2 Every event carries `at`; there is no clock in here.
 * M3 A plain call changes nothing about a session, so it is no event here: an xstate step costs 17 µs, a tenth of a call.
 * M4 What is to be done is emitted as a name and data; the actor does it, in the order it was emitted.
 */
import { assign, emit, setup, transition } from 'xstate';
import type { CloseReason, OpenRecord } from '#protocol/records/session.ts';
import type { OpenedUpstreams } from '#protocol/subjects/connector.ts';

/** What a session remembers between messages, as far as the machine changes it. */
export type SessionContext = Pick<OpenRecord, 'initialized' | 'listening' | 'logLevel' | 'subscriptions' | 'upstreams'>;

export type SessionEvent =
  | { readonly type: 'initialized'; readonly at: number }
  /** The client opened an event stream of its own, or says that it has one. */
  | { readonly type: 'listened'; readonly at: number }
  | { readonly type: 'levelSet'; readonly at: number; readonly level: string }
  | { readonly type: 'subscribed'; readonly at: number; readonly uri: string }
  | { readonly type: 'unsubscribed'; readonly at: number; readonly uri: string }
  | { readonly type: 'upstreamsLost'; readonly at: number; readonly connector: string }
  | { readonly type: 'upstreamsOpened'; readonly at: number; readonly upstreams: OpenedUpstreams }
  /** Still with the lost connector: whoever finds it gone next tries again. */
  | { readonly type: 'reopenFailed'; readonly at: number }
  | { readonly type: 'ticked'; readonly at: number; readonly seenAt: number; readonly ttlMs: number }
  | { readonly type: 'closeAsked'; readonly at: number; readonly reason: CloseReason };

/**
 * save: the record changed in a way another worker must know before anything else happens. note: another worker should
 * know, and would find out by itself; a store that takes nothing now holds nobody up.
 */
export type SessionEffect =
  | { readonly type: 'relay' }
  | { readonly type: 'save' }
  | { readonly type: 'note' }
  | { readonly type: 'reopen' }
  | { readonly type: 'close'; readonly reason: CloseReason };

/** Resources one session may be subscribed to. */
export const SUBSCRIPTIONS_MAX = 1_000;

const machine = setup({
  types: {} as { context: SessionContext; input: SessionContext; events: SessionEvent; emitted: SessionEffect },
  guards: {
    isIdle: ({ event }) => event.type === 'ticked' && event.at - event.seenAt > event.ttlMs,
    isOurs: ({ context, event }) => event.type === 'upstreamsLost' && event.connector === context.upstreams.connector,
    isFirstStream: ({ context }) => !context.listening,
    isNewSubscription: ({ context, event }) =>
      event.type === 'subscribed' && !context.subscriptions.includes(event.uri) && context.subscriptions.length < SUBSCRIPTIONS_MAX,
  },
  actions: {
    relay: emit({ type: 'relay' }),
    save: emit({ type: 'save' }),
    note: emit({ type: 'note' }),
    reopen: emit({ type: 'reopen' }),
    expire: emit({ type: 'close', reason: 'expired' }),
    close: emit(({ event }) => ({ type: 'close' as const, reason: event.type === 'closeAsked' ? event.reason : 'failed' })),
    initialize: assign({ initialized: true }),
    listen: assign({ listening: true }),
    setLevel: assign({ logLevel: ({ event, context }) => (event.type === 'levelSet' ? event.level : context.logLevel) }),
    subscribe: assign({ subscriptions: ({ event, context }) => (event.type === 'subscribed' ? [...context.subscriptions, event.uri] : context.subscriptions) }),
    unsubscribe: assign({
      subscriptions: ({ event, context }) => (event.type === 'unsubscribed' ? context.subscriptions.filter((uri) => uri !== event.uri) : context.subscriptions),
    }),
    adopt: assign({ upstreams: ({ event, context }) => (event.type === 'upstreamsOpened' ? event.upstreams : context.upstreams) }),
  },
});

const sessionMachine = machine.createMachine({
  id: 'session',
  context: ({ input }) => input,
  initial: 'ready',
  states: {
    ready: {
      on: {
        initialized: { actions: ['initialize', 'save', 'relay'] },
        listened: [{ guard: 'isFirstStream', actions: ['listen', 'note', 'relay'] }, { actions: 'relay' }],
        levelSet: { actions: ['setLevel', 'save', 'relay'] },
        subscribed: [{ guard: 'isNewSubscription', actions: ['subscribe', 'save', 'relay'] }, { actions: 'relay' }],
        unsubscribed: { actions: ['unsubscribe', 'save', 'relay'] },
        upstreamsLost: { guard: 'isOurs', target: 'reopening', actions: 'reopen' },
        ticked: { guard: 'isIdle', target: 'closed', actions: 'expire' },
        closeAsked: { target: 'closed', actions: 'close' },
      },
    },
    reopening: {
      on: {
        upstreamsOpened: { target: 'ready', actions: ['adopt', 'note'] },
        reopenFailed: { target: 'ready' },
        closeAsked: { target: 'closed', actions: 'close' },
      },
    },
    closed: { type: 'final' },
  },
});

/** Where a session is, as plain values: all that a live session keeps of its machine. */
export interface SessionState {
  readonly value: 'ready' | 'reopening' | 'closed';
  readonly context: SessionContext;
}

/**
 * One event, by xstate's pure transition (12 to 19 µs). A started xstate actor would take it in 4, and cost every idle
 * session 3.7 KB; events are rare (M3) and idle sessions are many.
 */
export function step(state: SessionState, event: SessionEvent): { readonly state: SessionState; readonly effects: readonly SessionEffect[] } {
  const [next, actions] = transition(sessionMachine, sessionMachine.resolveState(state), event);
  // The type of executable actions leaves out those xstate performs itself; emit is one of them.
  const emitted = actions.filter(({ type }) => (type as string) === 'xstate.emit').map(({ params }) => (params as { event: SessionEffect }).event);
  return { state: { value: next.value, context: next.context }, effects: emitted };
}
