/** Pins of tools from their records in KV, and the approval of what changed. */
import { randomBytes } from 'node:crypto';
import type { ToolPin, ToolPins } from '#protocol/records/tool-pins.ts';
import { tellOnce } from '#host/audit/audit.ts';
import type { AuditEvent } from '#host/audit/cloud-event.ts';
import type { NatsHandle } from '#host/host.ts';
import { approve } from '../../connector/core/pins.ts';
import { hashOf } from '../../connector/core/tool-definition.ts';
import { KvPinStore, type PinStore, listPins } from '../../connector/runtime/pins/pin-store.ts';
import { didYouMean } from '../arguments.ts';
import { CommandError } from '../core/exit.ts';
import { isNamed, pinFacts } from '../core/pin-facts.ts';
import { HASH_CHARS, pinShown, pinsTable } from '../show/pins.ts';
import { visibleName } from '../show/visible.ts';
import { type NatsSession, withNats } from './nats-session.ts';
import { colorsFor, print, say } from './terminal.ts';

const TRIES_MAX = 10;

export interface Place {
  readonly json: boolean;
  readonly dataDir: string | undefined;
}

const withPins = <T>({ dataDir }: Place, work: (session: NatsSession) => Promise<T>): Promise<T> => withNats({ dataDir: { given: dataDir } }, work);

export interface ListQuestion extends Place {
  readonly target: string | undefined;
  readonly pending: boolean;
}

export const listPinned = (question: ListQuestion): Promise<void> =>
  withPins(question, async ({ nats }) => {
    const { target, pending, json } = question;
    const targets = target === undefined ? await all(nats) : [await one(nats, target)];
    const facts = targets.flatMap((pins) => pins.tools.filter(({ seen }) => !pending || seen !== undefined).map((pin) => pinFacts(pins, pin)));
    if (json) for (const each of facts) print(JSON.stringify(each));
    else if (facts.length > 0) print(pinsTable(facts, Date.now()));
    if (facts.length === 0) say(pending ? 'no tool waits for an approval' : 'no tool is pinned');
  });

export const showPinned = (question: Place & { readonly target: string; readonly tool: string }): Promise<void> =>
  withPins(question, async ({ nats }) => {
    const pins = await one(nats, question.target);
    const pin = toolOf(pins, question.tool);
    const store = new KvPinStore(nats);
    const definitions = { pinned: await definition(store, pins, pin, 'pinned'), seen: await definition(store, pins, pin, 'seen') };
    const facts = pinFacts(pins, pin);
    const parsed = (text: string | undefined): unknown => (text === undefined ? undefined : JSON.parse(text));
    if (question.json) return print(JSON.stringify({ ...facts, definition: parsed(definitions.pinned), seenDefinition: parsed(definitions.seen) }));
    print(pinShown(facts, definitions, colorsFor(process.stdout)));
  });

export interface ApproveQuestion extends Place {
  readonly target: string;
  /** None = all that wait. */
  readonly tools: readonly string[];
  /** The beginning of the one that is meant. */
  readonly hash: string | undefined;
}

export const approvePinned = (question: ApproveQuestion): Promise<void> =>
  withPins(question, async ({ nats }) => {
    const store = new KvPinStore(nats);
    const before = await one(nats, question.target);
    const chosen = question.tools.length === 0 ? before.tools.filter(({ seen }) => seen !== undefined) : question.tools.map((tool) => toolOf(before, tool));
    const wanted = new Map<string, string>();
    for (const pin of chosen) {
      const hash = meant(pin, question.hash);
      if (hash === undefined) say(`${visibleName(pin.name)} is as it is pinned`);
      else wanted.set(pin.name, hash);
    }
    if (wanted.size === 0) return say('nothing to approve of');
    const approved = await write(store, before, wanted);
    const { backend, target } = before;
    for (const [tool, hash] of approved) print(question.json ? JSON.stringify({ backend, target, tool, hash }) : `approved ${visibleName(tool)} ${hash.slice(0, HASH_CHARS)}`);
    await tell(nats, [...approved].map(([tool, newHash]) => ({ kind: 'tool_approved', target, tool, principal: 'operator', oldHash: chosen.find(({ name }) => name === tool)?.pinned, newHash })));
    if (approved.size < wanted.size) throw new CommandError(`${wanted.size - approved.size} changed again meanwhile and were not approved: look at them with \`parley tools show\``);
  });

/** @throws CommandError when that is not kept, though the approval is. */
async function tell(nats: NatsHandle, events: readonly AuditEvent[]): Promise<void> {
  const instance = (): string => `cli-${randomBytes(6).toString('hex')}`;
  try {
    await Promise.all(events.map((event) => tellOnce(nats.js, instance(), event)));
  } catch (error) {
    throw new CommandError(`approved, and the audit stream does not know of it: ${(error as Error).message}`);
  }
}

/** Undefined when there is nothing to approve of. @throws CommandError when it is another than the one that is meant. */
function meant({ name, pinned, seen }: ToolPin, hash: string | undefined): string | undefined {
  if (hash === undefined) return seen?.hash;
  const found = [seen?.hash, pinned].find((one) => one?.startsWith(hash));
  if (found === undefined) throw new CommandError(`${visibleName(name)} is not shown with the definition ${hash}: its last one is ${(seen?.hash ?? pinned ?? '').slice(0, HASH_CHARS)}`);
  return seen === undefined ? undefined : found;
}

/** Names and hashes of those that still are as they were when they were chosen. */
async function write(store: PinStore, place: ToolPins, wanted: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, string>> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const stored = await store.read(place);
    if (stored === undefined) break;
    const pins = approve(stored.pins, wanted, Date.now());
    const written = await store.update(pins, stored.revision);
    if (written === 'refused') continue;
    const approved = new Map([...wanted].filter(([name, hash]) => pins.tools.some((pin) => pin.name === name && pin.pinned === hash && pin.seen === undefined)));
    await keepDefinitions(store, place, approved);
    return approved;
  }
  throw new CommandError('the pins are written by others all the time: try again');
}

/** What was seen is what is pinned now, when its text is that one. */
async function keepDefinitions(store: PinStore, place: ToolPins, approved: ReadonlyMap<string, string>): Promise<void> {
  for (const [name, hash] of approved) {
    const text = await store.definition(place, name, 'seen');
    if (text !== undefined && hashOf(text) === hash) await store.keepDefinition(place, name, 'pinned', text);
  }
}

async function definition(store: PinStore, pins: ToolPins, { name, pinned, seen }: ToolPin, which: 'pinned' | 'seen'): Promise<string | undefined> {
  const text = await store.definition(pins, name, which);
  return text !== undefined && hashOf(text) === (which === 'pinned' ? pinned : seen?.hash) ? text : undefined;
}

async function all(nats: NatsHandle): Promise<ToolPins[]> {
  const found = (await listPins(nats)).map(({ pins }) => pins);
  return found.toSorted((a, b) => (`${a.backend} ${a.target}` < `${b.backend} ${b.target}` ? -1 : 1));
}

/** @throws CommandError when there is none of that name, or several. */
async function one(nats: NatsHandle, word: string): Promise<ToolPins> {
  const targets = await all(nats);
  const [found, ...more] = targets.filter((pins) => isNamed(pins, word));
  if (found === undefined) throw new CommandError(`no target ${word} is pinned${maybe(word, targets.map(({ target }) => target))}`);
  if (more.length > 0) throw new CommandError(`several backends have a target ${word}: say one of ${[found, ...more].map(({ backend, target }) => `${backend}/${target}`).join(', ')}`);
  return found;
}

function toolOf({ tools, target }: ToolPins, tool: string): ToolPin {
  const found = tools.find(({ name }) => name === tool);
  if (found !== undefined) return found;
  throw new CommandError(`${target} has no pinned tool ${tool}${maybe(tool, tools.map(({ name }) => name))}`);
}

function maybe(word: string, names: readonly string[]): string {
  const near = didYouMean(word, names);
  return near === undefined ? '' : ` (did you mean ${visibleName(near)}?)`;
}
