/**
 * The identity providers of logins, asked by way of the policy service: this process reaches nobody but clients and the bus.
 * What is said of a login travels sealed: a verifier, a code, the claims of a person.
 */
import type { z } from 'zod';
import type { Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { type OidcConfig, clientDigest } from '#policies/logins/config.ts';
import { type IdentityProvider, loginBegun, loginEnd, loginResult } from '#policies/logins/provider.ts';
import { SAID_MS, UNSEALED, UNSEALED_REASON, open, seal } from '#policies/logins/seal.ts';
import type { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { policyLogin } from '#protocol/subjects/policy.ts';

/** The policy service gives a provider ten seconds, and may have to ask it for its keys, too. */
const ASK_MS = 25_000;

export interface IdentityProvidersOptions {
  readonly bus: Pick<Bus, 'request'>;
  readonly key: Secret;
  readonly now: () => number;
  /** Nobody can log in until an operator does something; told once. */
  readonly failed: (what: string, error: unknown) => void;
}

type Verb = 'begin' | 'finish' | 'end';

export function identityProviders({ bus, key, now, failed }: IdentityProvidersOptions): (config: OidcConfig) => IdentityProvider {
  const exchange = async (client: string, verb: Verb, question: object): Promise<unknown> => {
    const payload = new TextEncoder().encode(await seal(question, { key, purpose: `ask ${client} ${verb}` }, now() + SAID_MS));
    const bytes = await bus.request(policyLogin.to({}), { payload, meta: { client, verb }, deadline: clock() + ASK_MS });
    const opened = await open(new TextDecoder().decode(bytes), { key, purpose: `answer ${client} ${verb}` }, now());
    if (typeof opened === 'string') throw new Fault('upstream', UNSEALED, { reason: UNSEALED_REASON });
    return opened.value;
  };
  let told = false;
  return (config) => {
    const client = clientDigest(config);
    const ask = async <S extends z.ZodType>(verb: Verb, question: object, answer: S): Promise<z.output<S>> => {
      try {
        return answer.parse(await exchange(client, verb, question));
      } catch (error) {
        if (!told && error instanceof Fault && error.facts['reason'] === UNSEALED_REASON) {
          told = true;
          failed('nobody can log in', error);
        }
        throw error;
      }
    };
    return {
      begin: (state) => ask('begin', { state }, loginBegun),
      finish: (back) => ask('finish', back, loginResult),
      endUrl: async () => (await ask('end', {}, loginEnd)).url,
    };
  };
}
