/** What an HTTP server of ours holds beside what node counts, and how it ends. */
import type { Server } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import { clock } from '#host/clock.ts';
import type { Answering } from '../edge/http-response.ts';

const IDLE_CHECK_MS = 25;
/** A connection that was just made has its first request on the way. */
const FIRST_REQUEST_MS = 2_000;

export interface ServerState extends Answering {
  /** Connections that have not asked anything yet, which node counts as busy. */
  readonly silent: Set<Socket>;
  /** Tunnels and what came out of them: connections that node has let go of, or never took itself. */
  readonly held: Set<Socket>;
  leaving: boolean;
}

const states = new WeakMap<Server, ServerState>();

export function beginLife(server: Server, how: Pick<Answering, 'stalledMs' | 'cutOff'>): ServerState {
  const state: ServerState = { ...how, silent: new Set(), held: new Set(), leaving: false };
  states.set(server, state);
  return state;
}

/** Until it closes, the server does not end without it. False = the server is ending, and takes none. */
export function hold(server: Server, socket: Socket): boolean {
  const state = states.get(server);
  if (state === undefined || state.leaving) return false;
  const { silent, held } = state;
  silent.delete(socket);
  held.add(socket);
  socket.once('close', () => held.delete(socket));
  return true;
}

/** It serves on, and says `connection: close` with each answer: a balancer in front finds another server for the next one. */
export function beginLeaving(server: Server): void {
  const state = states.get(server);
  if (state !== undefined) state.leaving = true;
}

/**
 * Resolves when the last connection is gone: an idle one after `idleMs`, since its client may be about to use it once more,
 * one that is being answered after its answer, one that has asked nothing yet after FIRST_REQUEST_MS; what is still open
 * after `withinMs` is cut.
 */
export function stopHttpServer(server: Server, withinMs: number, idleMs = 0): Promise<void> {
  beginLeaving(server);
  const { silent, held } = states.get(server) ?? { silent: new Set<Socket>(), held: new Set<Socket>() };
  return new Promise((resolve) => {
    const limit = setTimeout(() => {
      server.closeAllConnections();
      for (const socket of held) socket.destroy();
    }, withinMs);
    const idleUntil = clock() + idleMs;
    const closeIdle = (): void => {
      if (clock() >= idleUntil) server.closeIdleConnections();
    };
    const idle = setInterval(closeIdle, IDLE_CHECK_MS);
    const first = setTimeout(() => {
      for (const socket of silent) socket.destroy();
    }, Math.min(FIRST_REQUEST_MS, withinMs));
    const end = (): void => {
      clearTimeout(limit);
      clearTimeout(first);
      clearInterval(idle);
      // All of that is over: what is left is the interval in which it looks at its connections, and keeps itself.
      server.close();
      resolve();
    };
    // What node:http adds to this closes idle connections at once, under whatever is on its way to them.
    NetServer.prototype.close.call(server, () => void Promise.all([...held].map(closed)).then(end));
    closeIdle();
  });
}

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()));
