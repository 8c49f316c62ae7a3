/** What happens to the configuration, each fact once: into the log, the counter and the audit stream. */
import type { Host } from '#host/host.ts';
import { problemLine } from '#protocol/config/problem.ts';
import type { Problem } from '#protocol/config/problem.ts';

/** More would push everything else out of the log. */
const LINES_MAX = 50;

export interface PolicyEvents {
  accepted(facts: { file: string; generation: string; warnings: readonly Problem[] }): void;
  /** This document is in force already. */
  unchanged(facts: { file: string; generation: string }): void;
  refused(facts: { file: string; problems: readonly Problem[] }): void;
  /** Accepted here, and not yet where the others look. */
  unpublished(facts: { file: string; generation: string; error: unknown }): void;
  keysFetched(url: string): void;
  /** Those fetched before, if any, stay in use. */
  keysNotFetched(url: string, error: unknown): void;
  /** What an identity provider says of itself was fetched. */
  providerFound(issuer: string): void;
  /** What it said before, if anything, stays in use. */
  providerNotFound(issuer: string, error: unknown): void;
  /** It does not let us in as the client of the configuration. */
  clientRefused(issuer: string, why: string): void;
}

export function policyEvents({ log, telemetry, audit }: Pick<Host, 'log' | 'telemetry' | 'audit'>): PolicyEvents {
  const loads = telemetry.counter('parley_config_loads', 'configuration files read, by outcome');
  const keys = telemetry.counter('parley_key_fetches', 'key sets of token issuers fetched, by outcome');
  const discoveries = telemetry.counter('parley_discoveries', 'discovery documents of identity providers fetched, by outcome');
  return {
    accepted({ file, generation, warnings }) {
      loads.add(1, { outcome: 'accepted' });
      for (const warning of warnings.slice(0, LINES_MAX)) log.warn(placeOf(warning), problemLine(warning));
      log.info({ file, generation }, 'configuration accepted');
      audit.record({ kind: 'config_accepted', generation });
    },
    unchanged({ file, generation }) {
      loads.add(1, { outcome: 'unchanged' });
      log.info({ file, generation }, 'this configuration is already in force');
    },
    refused({ file, problems }) {
      loads.add(1, { outcome: 'refused' });
      const errors = problems.filter((one) => one.severity === 'error');
      for (const error of errors.slice(0, LINES_MAX)) log.error(placeOf(error), problemLine(error));
      log.error({ file, errors: errors.length }, 'configuration refused: the one before it stays in force');
      const [first] = errors;
      audit.record({ kind: 'config_refused', reason: first === undefined ? file : problemLine(first) });
    },
    unpublished({ file, generation, error }) {
      loads.add(1, { outcome: 'unpublished' });
      log.error({ file, generation, err: error }, 'the configuration could not be published to NATS; trying again');
    },
    keysFetched(url) {
      keys.add(1, { outcome: 'fetched' });
      log.debug({ url }, 'the keys of a token issuer were fetched');
    },
    providerFound(issuer) {
      discoveries.add(1, { outcome: 'fetched' });
      log.debug({ issuer }, 'an identity provider was discovered');
    },
    providerNotFound(issuer, error) {
      discoveries.add(1, { outcome: 'failed' });
      log.error({ issuer, err: error }, 'an identity provider could not be discovered: what it said before stays in use, and it is asked again');
    },
    clientRefused: (issuer, why) => log.error({ issuer, why }, 'nobody can log in: the token endpoint of an identity provider refuses us, or is none; check clientId, clientSecret and redirectURI of oidc'),
    keysNotFetched(url, error) {
      keys.add(1, { outcome: 'failed' });
      log.error({ url, err: error }, 'the keys of a token issuer could not be fetched: those fetched before stay in use');
    },
  };
}

const placeOf = ({ file, line, path }: Problem) => ({ file, line, path });
