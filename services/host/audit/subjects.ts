/** Which subject tells of an event. Found by its names one by one: joined to one key they would have to be hashed for each event. */
import type { AuditKind } from '#protocol/audit/kinds.ts';
import { audited, NONE } from '#protocol/audit/subjects.ts';

const SUBJECTS_MAX = 4096;
const TOKEN_CHARS_MAX = 64;

interface Named {
  readonly kind: AuditKind;
  readonly route?: string | undefined;
  readonly target?: string | undefined;
}

export class AuditSubjects {
  readonly #made = new Map<AuditKind, Map<string, Map<string, string>>>();
  #count = 0;

  of({ kind, route = NONE, target = NONE }: Named): string {
    return this.#made.get(kind)?.get(route)?.get(target) ?? this.#make(kind, route, target);
  }

  #make(kind: AuditKind, route: string, target: string): string {
    if (this.#count >= SUBJECTS_MAX) this.#made.clear();
    this.#count = this.#made.size === 0 ? 1 : this.#count + 1;
    const subject = audited.to({ kind, route: token(route), target: token(target) });
    const routes = within(this.#made, kind, () => new Map<string, Map<string, string>>());
    within(routes, route, () => new Map<string, string>()).set(target, subject);
    return subject;
  }
}

function within<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}

/** A target may have a name no subject can hold; the event itself tells the whole name. */
function token(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, TOKEN_CHARS_MAX) || NONE;
}
