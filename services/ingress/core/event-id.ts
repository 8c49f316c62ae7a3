/**
 * Event ids: `<stream>.<number>.<tag>`. Stream and number name a place; the tag shows that a stream of this very session had
 * it (an HMAC under the session id, which only its client and we know). So an id that was cut, altered, or made for another
 * session or principal is no id, and a look-up is never made for it.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { principalKey } from '#protocol/records/principal.ts';

/** Where in a stream an event stands; what came before it, its client has. */
export interface EventPlace {
  readonly stream: string;
  readonly number: number;
}

const EVENT_ID = /^(([A-Za-z0-9_-]{1,64})\.(0|[1-9]\d{0,15}))\.([A-Za-z0-9_-]{8})$/;
const TAG_CHARS = 8;

const OWN = 'g';
const TOKEN_BYTES = 12;

/** A name for a stream a client opens by GET; streams of responses are named by the connector. */
export const newOwnStream = (): string => `${OWN}${randomBytes(TOKEN_BYTES).toString('base64url')}`;
export const isOwnStream = (stream: string): boolean => stream.startsWith(OWN);

/** The ids of one session's events. */
export class EventIds {
  readonly #session: string;
  readonly #principal: string;

  constructor(principal: string, session: string) {
    this.#session = session;
    this.#principal = principalKey(principal);
  }

  of(stream: string, number: number): string {
    const place = `${stream}.${number}`;
    return `${place}.${this.#tag(place)}`;
  }

  /** Undefined when no event of this session has it. */
  read(id: string): EventPlace | undefined {
    const [, place, stream, digits, tag] = EVENT_ID.exec(id) ?? [];
    if (place === undefined || stream === undefined || tag === undefined) return undefined;
    const number = Number(digits);
    if (!Number.isSafeInteger(number)) return undefined;
    return timingSafeEqual(Buffer.from(tag), Buffer.from(this.#tag(place))) ? { stream, number } : undefined;
  }

  #tag(place: string): string {
    return createHmac('sha256', this.#session).update(`${this.#principal}.${place}`).digest('base64url').slice(0, TAG_CHARS);
  }
}
