/**
 * Several targets behind one name, in either era: which target a request is for, and lists over all of them.
 *
 * X1 Targets are asked at once and have a deadline each, so that a silent one delays a list and never hangs it.
 * X2 failOpen leaves a failing target out; failClosed fails the list with the first target that failed.
 * X3 With prefixMode `never` an owner is found by reading all lists once; names two targets serve belong to neither.
 */
import type { McpBackend } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Request, encode } from '#protocol/mcp/message.ts';
import type { Naming } from '#protocol/mcp/naming.ts';
import { clock } from '#host/clock.ts';
import { type Cursors, decodeCursors, encodeCursors } from '../../core/cursor.ts';
import { type Item, LISTS, capabilityOf } from '../../core/lists.ts';
import { mergeCacheRules } from '../../core/merge.ts';
import { type Routed, namedIn, route } from '../../core/rewrite.ts';
import { unknown } from '../../core/unknown.ts';
import type { Handles } from './handles.ts';
import { type PinSlot, TOOL_LIST } from '../pins/pin-guard.ts';
import { type Upstream, UpstreamCall, ask } from '../targets/upstream.ts';

const LIST_MS = 15_000;
const PAGES_MAX = 64;

export interface Member {
  readonly upstream: Upstream;
  readonly capabilities: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number | undefined;
}

export interface Destination {
  readonly member: Member;
  readonly call: UpstreamCall;
}

interface Page {
  readonly target: string;
  /** As the target names them. */
  readonly items: readonly Item[];
  readonly next: string | undefined;
  readonly result: Record<string, unknown>;
}

/** The items of a target that the caller may see. */
export type Visible = (target: string, items: readonly Item[]) => readonly Item[];
const everything: Visible = (_target, items) => items;

/** Of the one who asks for a list. */
export interface Listing {
  readonly handles: Handles;
  readonly visible: Visible | undefined;
}

export class Multiplexer {
  readonly #backend: McpBackend;
  readonly #naming: Naming;
  readonly #pins: PinSlot;
  readonly #owners = new Map<string, Promise<Map<string, string | null>>>();

  constructor(backend: McpBackend, naming: Naming, pins: PinSlot) {
    this.#backend = backend;
    this.#naming = naming;
    this.#pins = pins;
  }

  /** Called on list_changed: who owns which name is asked anew. */
  forgetOwners(): void {
    this.#owners.clear();
  }

  /** @throws Fault `invalid` when no target of ours has the name, as for a name that exists nowhere. */
  async destination(members: ReadonlyMap<string, Member>, call: UpstreamCall): Promise<Destination> {
    const { request } = call;
    const named = this.#naming.prefixed ? undefined : namedIn(request);
    const routed = named === undefined ? route(request, this.#naming) : await this.#routeUnprefixed(members, call, named);
    const member = routed && members.get(routed.target);
    if (member === undefined) throw unknown(call);
    if (routed === undefined || routed.request === request) return { member, call };
    return { member, call: new UpstreamCall({ ...call, payload: encode(routed.request), name: routed.name, request: routed.request }) };
  }

  /** One page over all targets; the cursor says who has more. */
  async list(members: ReadonlyMap<string, Member>, call: UpstreamCall, { handles, visible = everything }: Listing): Promise<Record<string, unknown>> {
    const { key, rename } = LISTS[call.method] as (typeof LISTS)[string];
    const asked = cursorsOf(call, handles);
    const able = [...members].filter(([target, member]) => capabilityOf(call.method) in member.capabilities && (asked === undefined || target in asked));
    const read = await this.#pages(able, call, asked);
    const pages = read.map((page) => ({ ...page, items: visible(page.target, page.items).map((item) => rename(item, page.target, this.#naming)) }));
    const next: Record<string, string> = {};
    for (const page of pages) if (page.next !== undefined) next[page.target] = page.next;
    const cursors = encodeCursors(next);
    const items = this.#naming.prefixed || !isNamed(call.method) ? pages.flatMap((page) => page.items) : await this.#unambiguous(members, call, pages);
    return {
      ...(pages.some((page) => page.result['resultType'] !== undefined) ? { resultType: 'complete' } : {}),
      [key]: items,
      ...(cursors === undefined ? {} : { nextCursor: handles.seal({ method: call.method }, cursors) }),
      ...mergeCacheRules(pages.map((page) => page.result)),
    };
  }

  async #pages(able: readonly [string, Member][], call: UpstreamCall, cursors: Cursors | undefined): Promise<readonly Page[]> {
    const pages = await Promise.allSettled(able.map(([target, member]) => this.#page(target, member, call, cursors?.[target])));
    const failed = pages.filter((page) => page.status === 'rejected');
    const allFailed = failed.length > 0 && failed.length === pages.length;
    if (failed[0] && (allFailed || this.#backend.failureMode === 'failClosed')) throw failed[0].reason;
    return pages.filter((page) => page.status === 'fulfilled').map((page) => page.value);
  }

  async #page(target: string, member: Member, call: UpstreamCall, cursor: string | undefined): Promise<Page> {
    const shape = LISTS[call.method] as (typeof LISTS)[string];
    const { cursor: _ours, ...params } = call.request.params ?? {};
    const request = { ...call.request, params: cursor === undefined ? params : { ...params, cursor } };
    const deadline = Math.min(call.deadline, clock() + (member.timeoutMs ?? LIST_MS));
    const asking = new UpstreamCall({ ...call, payload: encode(request), request, deadline });
    const guard = call.method === TOOL_LIST ? this.#pins.guards?.get(target) : undefined;
    await guard?.before(member.upstream, asking);
    const response = await ask(member.upstream, asking);
    if (response.error) throw new Fault('upstream', `${target}: ${response.error.message}`, { target, rpc: String(response.error.code) });
    const result = response.result ?? {};
    const items = Array.isArray(result[shape.key]) ? (result[shape.key] as Item[]) : [];
    const next = typeof result['nextCursor'] === 'string' ? result['nextCursor'] : undefined;
    return { target, items: guard?.shown(items) ?? items, next, result };
  }

  async #unambiguous(members: ReadonlyMap<string, Member>, call: UpstreamCall, pages: readonly Page[]): Promise<Item[]> {
    const owners = await this.#ownersOf(members, call.method, call);
    return pages.flatMap((page) => page.items.filter((item) => owners.get(String(item['name'])) === page.target));
  }

  async #routeUnprefixed(members: ReadonlyMap<string, Member>, { request, caller }: UpstreamCall, { name, list }: NonNullable<ReturnType<typeof namedIn>>): Promise<Routed | undefined> {
    const { params: { _meta } = {} } = request;
    const listing: Request = { jsonrpc: '2.0', id: `parley-owners-${list}`, method: list, params: _meta === undefined ? {} : { _meta } };
    const call = new UpstreamCall({ id: listing.id, method: list, payload: encode(listing), request: listing, caller, deadline: clock() + LIST_MS });
    const target = (await this.#ownersOf(members, list, call)).get(name);
    return typeof target === 'string' ? { target, name, request } : undefined;
  }

  #ownersOf(members: ReadonlyMap<string, Member>, method: string, call: UpstreamCall): Promise<Map<string, string | null>> {
    let owners = this.#owners.get(method);
    if (owners === undefined) {
      owners = this.#readOwners(members, call);
      this.#owners.set(method, owners);
      owners.catch(() => this.#owners.delete(method));
    }
    return owners;
  }

  async #readOwners(members: ReadonlyMap<string, Member>, call: UpstreamCall): Promise<Map<string, string | null>> {
    const owners = new Map<string, string | null>();
    const able = [...members].filter(([, member]) => capabilityOf(call.method) in member.capabilities);
    let cursors: Cursors | undefined;
    for (let pages = 0; pages < PAGES_MAX; pages += 1) {
      const reached = able.filter(([target]) => cursors === undefined || target in cursors);
      const next: Record<string, string> = {};
      for (const page of await this.#pages(reached, call, cursors)) {
        if (page.next !== undefined) next[page.target] = page.next;
        for (const item of page.items) {
          const name = String(item['name']);
          owners.set(name, owners.has(name) && owners.get(name) !== page.target ? null : page.target);
        }
      }
      cursors = next;
      if (Object.keys(next).length === 0) break;
    }
    return owners;
  }
}

function cursorsOf({ method, request }: UpstreamCall, handles: Handles): Cursors | undefined {
  const cursor = request.params?.['cursor'];
  if (cursor === undefined) return undefined;
  // One that a list of a single target gave out is sealed for the same place, when targets were added since.
  return decodeCursors(handles.open({ method }, cursor)) ?? handles.refuse({ method }, 'cursor');
}

const isNamed = (method: string): boolean => method === 'tools/list' || method === 'prompts/list';
