/**
 * The keys of one issuer as a verifier uses them: fixed ones from the configuration, or those the policy service fetched.
 *
 * K1 A document that is no good changes nothing: the keys before it stay.
 * K2 The same document gives the same `Keys`, so that who remembers by which keys something was verified can compare.
 */
import { Fault } from '#protocol/faults/fault.ts';
import type { PolicyDeps } from '../policy.ts';
import type { JwksConfig } from './config.ts';
import { jwksProblem, readJwks } from './jwks.ts';
import type { Keys } from './jwks.ts';

export interface IssuerKeys {
  /** Undefined: none are known yet. */
  current(): Keys | undefined;
  /** Resolves when newer ones were asked for, whatever came of it; undefined = there are no others, or not now. */
  refresh(): Promise<void> | undefined;
}

/** @throws Fault `invalid` for a file that cannot be read, or is no key set. */
export function issuerKeys(source: JwksConfig, deps: Pick<PolicyDeps, 'file' | 'keys'>): IssuerKeys {
  if (typeof source === 'string') return fixed(source, 'jwks');
  if ('file' in source) return fixed(deps.file(source.file), `the file ${source.file}`);
  const published = deps.keys(source.url);
  let text: string | undefined;
  let keys: Keys | undefined;
  return {
    current() {
      const now = published.current();
      if (now === text || now === undefined) return keys;
      text = now;
      const reading = readJwks(now);
      if ('keys' in reading) keys = reading.keys;
      return keys;
    },
    refresh: () => published.refresh(),
  };
}

function fixed(text: string, where: string): IssuerKeys {
  const reading = readJwks(text);
  if ('problem' in reading) throw new Fault('invalid', `${where}: ${jwksProblem(reading.problem)}`);
  const { keys } = reading;
  return { current: () => keys, refresh: () => undefined };
}
