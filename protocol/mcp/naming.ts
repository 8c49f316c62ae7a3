/**
 * How the names of several targets share one namespace, and how a name leads back to its target.
 *
 *   tools, prompts   target_name         split at the first `_`, which no target name holds
 *   resource URIs    target+scheme://…   `ui://x` becomes `ui://target+x`, so that it stays a ui resource
 */
import type { McpBackend } from '../config/generation.ts';

export interface Named {
  readonly target: string;
  readonly name: string;
}

export class Naming {
  /** True when messages must be rewritten at all; with one plain target every byte passes as it came. */
  readonly shared: boolean;
  /** Tool and prompt names carry their target. False with prefixMode `never`: owners are then found by asking. */
  readonly prefixed: boolean;
  readonly #targets: ReadonlySet<string>;

  constructor(backend: Pick<McpBackend, 'targets' | 'prefixMode'>) {
    const many = backend.targets.length > 1;
    this.shared = many || backend.prefixMode === 'always';
    this.prefixed = backend.prefixMode === 'always' || (many && backend.prefixMode === 'conditional');
    this.#targets = new Set(backend.targets.map((target) => target.name));
  }

  name(target: string, name: string): string {
    return this.prefixed ? `${target}_${name}` : name;
  }

  splitName(name: string): Named | undefined {
    const at = name.indexOf('_');
    return at < 0 ? undefined : this.#known(name.slice(0, at), name.slice(at + 1));
  }

  uri(target: string, uri: string): string {
    if (uri.startsWith(UI)) return `${UI}${target}+${uri.slice(UI.length)}`;
    return SCHEME.test(uri) ? `${target}+${uri}` : uri;
  }

  splitUri(uri: string): Named | undefined {
    const ui = uri.startsWith(UI);
    const rest = ui ? uri.slice(UI.length) : uri;
    const at = rest.indexOf('+');
    if (at < 0) return undefined;
    return this.#known(rest.slice(0, at), ui ? UI + rest.slice(at + 1) : rest.slice(at + 1));
  }

  #known(target: string, name: string): Named | undefined {
    return this.#targets.has(target) ? { target, name } : undefined;
  }
}

const UI = 'ui://';
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/;
