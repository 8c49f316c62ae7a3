/**
 * CONNECT to a bind with `tunnelProtocol: connect`: the connection goes on at another bind of this process, as if its client
 * had come by that port, TLS or plain as it is there.
 *
 * C1 Nothing is dialled. A port that no bind has leads to the internal bind without a port; where there is none, 404.
 * C2 No tunnel in a tunnel: a CONNECT that comes out of one is refused like one to any port that opens none.
 * C3 Rules for connections judge it as it came and as it goes on: the same source, with the destination it asked for.
 * C4 TUNNELS_MAX may be open. What comes out of one has the time of any new connection to say something.
 */
import type { Server } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { Connection } from '#policies/networkAuthorization/policy.ts';
import { connectTarget } from '../../core/connect-target.ts';
import type { TunnelOutcome } from '../../events.ts';
import { type Connect, type ConnectRefusal, type ConnectRequest, answerRefusal } from './refused-connect.ts';
import { withEveryCredential } from '../edge/request-headers.ts';
import { hold } from './server-life.ts';
import { cameByTunnel, destinationOf, sourceOf } from './source.ts';

/** As open answers of one handler. An encrypted connection costs some 50 KB. */
const TUNNELS_MAX = 10_000;

/** Of one that carries a tunnel: two servers, two handshakes and this want to know when it closes. */
const LISTENERS_MAX = 16;

/** Takes a connection as a port does that it came by. */
export type Enter = (socket: Socket) => void;

export interface TunnelsOptions {
  /** Undefined = no bind serves this port. unready = one does, and has no certificate yet. */
  readonly entrance: (port: number) => Enter | 'unready' | undefined;
  /** Whether a connection may stay. */
  readonly admits: (connection: Connection) => boolean;
  readonly tunnelled: (outcome: TunnelOutcome) => void;
  readonly tunnelsMax?: number | undefined;
}

const REFUSALS = {
  malformed: { status: '400 Bad Request', message: 'CONNECT names a host and a port, and waits for its answer' },
  denied: { status: '403 Forbidden', message: 'a connection to this port is not allowed' },
  nobody: { status: '404 Not Found', message: 'nothing here serves this port' },
  limit: { status: '503 Service Unavailable', message: 'too many tunnels are open', headers: 'Retry-After: 1\r\n' },
  unready: { status: '503 Service Unavailable', message: 'this port is not ready', headers: 'Retry-After: 1\r\n' },
} as const satisfies Readonly<Record<string, ConnectRefusal>>;

export class Tunnels {
  readonly #options: TunnelsOptions;
  #open = 0;

  constructor(options: TunnelsOptions) {
    this.#options = options;
  }

  get open(): number {
    return this.#open;
  }

  readonly connect: Connect = (server, connect) => {
    const why = this.#try(server, connect);
    this.#options.tunnelled(why ?? 'opened');
    if (why !== undefined) answerRefusal(connect, REFUSALS[why]);
  };

  #try(server: Server, { request, socket, head }: ConnectRequest): keyof typeof REFUSALS | undefined {
    const { entrance, admits, tunnelsMax = TUNNELS_MAX } = this.#options;
    const target = connectTarget(request.url ?? '');
    // What came before the answer would be the first bytes of another protocol, read by whom this one was refused by.
    if (target === undefined || head.length > 0) return 'malformed';
    const came = sourceOf(socket);
    const destination = { address: isIP(target.host) === 0 ? destinationOf(socket).address : target.host, port: target.port };
    if (!admits({ source: { address: came.address, port: came.port }, destination })) return 'denied';
    const enter = entrance(target.port);
    if (enter === undefined) return 'nobody';
    if (enter === 'unready') return 'unready';
    if (this.#open >= tunnelsMax || !hold(server, socket)) return 'limit';
    this.#open += 1;
    socket.setMaxListeners(LISTENERS_MAX);
    socket.once('close', () => (this.#open -= 1));
    cameByTunnel(socket, { source: { ...came, connectHeaders: withEveryCredential(request) }, destination });
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    enter(socket);
    return undefined;
  }
}
