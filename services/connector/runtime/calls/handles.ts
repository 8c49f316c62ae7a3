/**
 * The handles one caller holds: cursors of lists, and the states of requests that wait for input (MCP 2026-07-28 "Multi
 * round-trip requests"). An upstream gives them to us, and cannot tell our callers apart; so each caller gets them sealed.
 *
 * H1 A cursor is for the list it came from, a state for the call (method, and tool or prompt) that is to be made again.
 * H2 What cannot be opened is answered like what nobody gave out, whosever it is.
 * H3 A message that holds no handle keeps its bytes, and is not parsed for this unless it is written so as to hide one.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Request, type Response, encode } from '#protocol/mcp/message.ts';
import { type HandleKeys, type HandleOwner, type SealKeys, seal, sealKeysOf, unseal } from '../../core/handle-seal.ts';
import { isPaged } from '../../core/lists.ts';
import { UpstreamCall } from '../targets/upstream.ts';

export const HANDLE_CHARS_MAX = 64 * 1024;

/** Where it may stand in a request, and in the answer before. */
interface Kind {
  readonly param: 'cursor' | 'requestState';
  readonly result: 'nextCursor' | 'requestState';
  /** `param`, as it stands in a request. */
  readonly mark: Buffer;
}

const CURSOR: Kind = { param: 'cursor', result: 'nextCursor', mark: Buffer.from('"cursor"') };
const STATE: Kind = { param: 'requestState', result: 'requestState', mark: Buffer.from('"requestState"') };
/** JSON has two ways to write a letter, and a key in the other one is the same key. */
const ESCAPED = Buffer.from('\\u');

export interface HandleFacts extends HandleOwner {
  readonly route?: string | undefined;
}

/** answer: a response to a request that no server made of this session's client, or that is answered already. */
export type HandleRefused = (facts: HandleFacts & { readonly method?: string | undefined; readonly handle: 'cursor' | 'requestState' | 'answer' }) => void;

export interface HandlesOptions {
  readonly keys: HandleKeys;
  readonly owner: HandleFacts;
  readonly refused: HandleRefused;
}

/** The method, and the tool or prompt as the client names it. */
export interface Place {
  readonly method?: string | undefined;
  readonly name?: string | undefined;
}

export class Handles {
  readonly #options: HandlesOptions;
  #keys: SealKeys | undefined;

  constructor(options: HandlesOptions) {
    this.#options = options;
  }

  /** What the client sent, as the upstream knows it. @throws Fault invalid */
  opened(call: UpstreamCall): UpstreamCall {
    const { param, mark } = kindOf(call);
    const bytes = bytesOf(call.payload);
    if (!bytes.includes(mark) && !bytes.includes(ESCAPED)) return call;
    const handle = call.request.params?.[param];
    if (handle === undefined) return call;
    const request: Request = { ...call.request, params: { ...call.request.params, [param]: this.open(call, handle) } };
    return new UpstreamCall({ ...call, payload: encode(request), request });
  }

  /** The response for the client; the same one when there is no handle in it. */
  sealed(place: Place, response: Response): Response {
    const { result: key } = kindOf(place);
    const handle = response.result?.[key];
    if (typeof handle !== 'string') return response;
    return { ...response, result: { ...response.result, [key]: this.seal(place, handle) } };
  }

  seal(place: Place, handle: string): string {
    return seal(this.#sealKeys(), placeOf(place), handle);
  }

  /** H2. @throws Fault invalid */
  open(place: Place, sealed: unknown): string {
    const { param } = kindOf(place);
    const known = typeof sealed === 'string' && sealed.length <= HANDLE_CHARS_MAX ? unseal(this.#sealKeys(), placeOf(place), sealed) : undefined;
    return known ?? this.refuse(place, param);
  }

  /** @throws Fault invalid */
  refuse({ method }: Place, handle: Kind['param']): never {
    const { owner, refused } = this.#options;
    refused({ ...owner, method, handle });
    throw new Fault('invalid', `the ${handle} is not one of ours`, { rpc: String(CODE.invalidParams) });
  }

  #sealKeys(): SealKeys {
    const { keys, owner } = this.#options;
    return (this.#keys ??= sealKeysOf(keys, owner));
  }
}

const kindOf = ({ method = '' }: Place): Kind => (isPaged(method) ? CURSOR : STATE);

const placeOf = ({ method, name }: Place): string => JSON.stringify([method, name]);

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, byteLength);
