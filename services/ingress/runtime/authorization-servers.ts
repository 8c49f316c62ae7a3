/** The authorization servers of issuers, asked by way of the policy service. */
import { NOTHING, type Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { AuthorizationServer } from '#policies/policy.ts';
import { type AuthorizationServerReply, authorizationServerReply, policyAuthorizationServer } from '#protocol/subjects/policy.ts';

/** The policy service may have to try three URLs, and to register after that. */
const ASK_MS = 25_000;

export function authorizationServers(bus: Pick<Bus, 'request'>): (issuer: string) => AuthorizationServer {
  const ask = async (issuer: string, verb: 'metadata' | 'register', payload: Uint8Array): Promise<AuthorizationServerReply> => {
    const bytes = await bus.request(policyAuthorizationServer.to({}), { payload, meta: { issuer, verb }, deadline: clock() + ASK_MS });
    return authorizationServerReply.parse(JSON.parse(new TextDecoder().decode(bytes)));
  };
  return (issuer) => ({
    metadata: async () => JSON.parse((await ask(issuer, 'metadata', NOTHING)).text) as Record<string, unknown>,
    register: (body) => ask(issuer, 'register', body),
  });
}
