/**
 * The policy service: owns the configuration. It reads and watches one file and publishes what it accepts; every process,
 * this one too, takes its generation from there. Without a file it publishes nothing: another replica has one. What has to
 * be fetched for policies, such as the keys of token issuers, it fetches for all.
 */
import * as Effect from 'effect/Effect';
import type * as Scope from 'effect/Scope';
import type { Host, Service } from '#host/host.ts';
import { serviceOf } from '#protocol/subjects/frames.ts';
import type { Environment } from '#protocol/config/expand.ts';
import { policyEvents } from './events.ts';
import { serveFetched } from './runtime/fetched.ts';
import { followFile } from './runtime/follow.ts';
import { readPolicySettings } from './settings.ts';

export interface PolicyServiceOptions {
  readonly file?: string;
  /** Settings, and what `$VAR` in the file stands for; needed to judge it, never published. */
  readonly env?: Environment;
}

export const policyService = (options: PolicyServiceOptions = {}): Service => ({
  name: 'policy',
  start: (host) => start(host, options),
});

/** A process that was started to be a policy service has others beside it; one that is a whole gateway has none. */
const isAlone = ({ bus }: Host): boolean => !serviceOf(bus.instance).split('-').includes('policy');

const start = Effect.fnUntraced(function* (host: Host, { file, env = {} }: PolicyServiceOptions): Effect.fn.Return<void, never, Scope.Scope> {
  const events = policyEvents(host);
  yield* Effect.acquireRelease(
    Effect.sync(() => serveFetched({ host, events, settings: readPolicySettings(env) })),
    (stop) => Effect.promise(stop),
  );
  if (file === undefined) {
    host.log.info('no configuration file was given: the configuration in NATS is served as it is');
    return;
  }
  yield* Effect.acquireRelease(
    Effect.promise(() => followFile({ file, env, running: { alone: isAlone(host) }, host, events })),
    (following) => Effect.promise(() => following.stop()),
  );
});
