/** What the steps of compiling a document share. */
import type { CalloutDocument, Tunnel, TunnelDocument } from './callout.ts';
import type { CalloutAt, CompiledCallout } from './compile-callouts.ts';
import type { FindService } from './compile-services.ts';
import type { PolicyDocuments } from './generation.ts';
import type { Path } from './problem.ts';

/** Where problems go, and how a value may be quoted. */
export interface Compiling {
  error(path: Path, message: string, hint?: string): void;
  warn(path: Path, message: string): void;
  /** The text at a path as written, for messages. */
  quote(path: Path): string;
  /** What stands at a path, variables unexpanded. */
  written(path: Path): unknown;
  /** Warns of a secret that is published, unless it comes from the environment. */
  secret(path: Path): void;
  /** Notes the expressions of a `backendAuth`, to be judged by who knows their language. */
  expressions(path: Path): void;
  /** A server that is asked on the gateway's own behalf; undefined after a complaint. */
  callout(document: CalloutDocument, at: CalloutAt): CompiledCallout | undefined;
  /** A proxy on the way to a server; undefined after a complaint. */
  tunnel(document: TunnelDocument, path: Path): Tunnel | undefined;
  /** The servers of a service; undefined after a complaint. */
  service: FindService;
  /** The policies written at a path that judge calls, each checked by its own schema; not those that say how upstreams are reached. */
  policies(value: Readonly<Record<string, unknown>> | null | undefined, path: Path): PolicyDocuments;
}
