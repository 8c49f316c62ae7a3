/** The variables of rules as ingress knows them, and the part of them that rules elsewhere ask for. */
import type { CapturePath } from '../cel/captures.ts';
import type { Activation } from '../cel/variables.ts';
import type { Facts, PolicyCall, PolicyDeps, Source } from '../policy.ts';

/** Read when an expression names it: nothing is gathered for rules that ask for less. @param body where it was read for them, whole. */
export const requestVariables = (call: PolicyCall, facts: Facts, { surroundings = {} }: Pick<PolicyDeps, 'surroundings'>, body?: Uint8Array): Activation => ({
  ...facts,
  ...surroundings,
  get request() {
    return requestOf(call, body);
  },
  get source() {
    return sourceOf(call.source);
  },
  get destination() {
    return call.destination;
  },
});

const requestOf = (call: PolicyCall, body: Uint8Array | undefined): object => ({
  ...(body === undefined ? {} : { body }),
  method: call.method,
  host: call.host,
  path: call.path,
  headers: call.headers,
  scheme: call.scheme,
  version: call.version,
  get startTime() {
    return call.startedAtMs === undefined ? undefined : new Date(call.startedAtMs);
  },
  get pathAndQuery() {
    return pathAndQueryOf(call);
  },
  get uri() {
    return `${call.scheme}://${call.host}${pathAndQueryOf(call)}`;
  },
});

const pathAndQueryOf = ({ path, query }: PolicyCall): string => (query === '' ? path : `${path}?${query}`);

const NO_HEADERS = Object.freeze({});

/** What a client certificate says stands beside the address, as the configuration format has it. No proxy speaks for its clients in another protocol. */
const sourceOf = ({ address, port, tls, connectHeaders = NO_HEADERS }: Source): object => ({ address, port, rawAddress: address, rawPort: port, connectHeaders, ...tls });

/** The union of what several expressions read: no path begins with another. */
export function joinPaths(paths: readonly CapturePath[]): readonly CapturePath[] {
  const texts = new Map(paths.map((path) => [JSON.stringify(path), path]));
  const all = [...texts.entries()].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, path]) => path);
  return all.filter((path) => !all.some((other) => other.length < path.length && other.every((step, index) => step === path[index])));
}

/** Only what lies on the paths, as plain values; what is not there is left out. */
export function pick(paths: readonly CapturePath[], from: Activation): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (const path of paths) copy(path, from as Readonly<Record<string, unknown>>, picked);
  return picked;
}

function copy(path: readonly string[], from: Readonly<Record<string, unknown>>, into: Record<string, unknown>): void {
  const [step = '', ...rest] = path;
  const value = Object.hasOwn(from, step) ? from[step] : undefined;
  if (value === undefined) return;
  if (rest.length === 0 || typeof value !== 'object' || value === null || Array.isArray(value)) return void define(into, step, value);
  if (!Object.hasOwn(into, step)) define(into, step, {});
  copy(rest, value as Readonly<Record<string, unknown>>, into[step] as Record<string, unknown>);
}

/** A step may be called `__proto__`: by a client's header, or a claim. */
function define(into: Record<string, unknown>, step: string, value: unknown): void {
  Object.defineProperty(into, step, { value, enumerable: true, configurable: true, writable: true });
}
