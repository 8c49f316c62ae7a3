/**
 * Connections whose server a caller chose.
 *
 * D1 A name is looked up when it is connected to, and of its addresses those remain that may be dialled (dialable.ts):
 *    what it stands for cannot change between the look and the connection.
 * D2 A look-up takes one of the few threads that files and signatures need too, as long as somebody's name server likes: of
 *    those, names that callers choose have LOOKUPS_MAX. WAITING_MAX wait, no longer than their connections do.
 */
import { lookup as lookUp } from 'node:dns';
import { type LookupFunction, isIP } from 'node:net';
import { Fault } from '#protocol/faults/fault.ts';
import { type Network, isDialable } from './dialable.ts';

/** Of the four that node has unless told otherwise. */
export const LOOKUPS_MAX = 2;
export const WAITING_MAX = 1_000;

type Callback = Parameters<LookupFunction>[2];
type Options = Parameters<LookupFunction>[1];

export class Dialing {
  readonly #allowed: readonly Network[];
  readonly #lookUp: typeof lookUp;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param allowed networks that may be dialled although they would not be. */
  constructor(allowed: readonly Network[], system: typeof lookUp = lookUp) {
    this.#allowed = allowed;
    this.#lookUp = system;
  }

  /** Undefined for a name, and for an address that may be dialled. */
  refuse(host: string): Fault | undefined {
    return isIP(host) === 0 || isDialable(host, this.#allowed) ? undefined : refused(host);
  }

  readonly lookup: LookupFunction = (host, options, callback) => {
    const look = (): void => this.#look(host, options, callback);
    if (this.#running < LOOKUPS_MAX) look();
    else if (this.#waiting.length < WAITING_MAX) this.#waiting.push(look);
    else callback(new Fault('overloaded', 'too many names are being looked up'), '');
  };

  #look(host: string, options: Options, callback: Callback): void {
    this.#running += 1;
    this.#lookUp(host, { ...options, all: true }, (error, addresses) => {
      this.#running -= 1;
      this.#waiting.shift()?.();
      if (error !== null) return callback(error, '');
      const open = addresses.filter(({ address }) => isDialable(address, this.#allowed));
      const [first] = open;
      if (first === undefined) return callback(refused(host), '');
      if (options.all === true) callback(null, open);
      else callback(null, first.address, first.family);
    });
  }
}

const refused = (host: string): Fault => new Fault('denied', `${host} is not connected to from here: its address is of this machine, of its link, or where a cloud serves credentials`, { reason: 'address' });
