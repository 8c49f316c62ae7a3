/** The authorization servers of issuers, asked by way of the policy service. */
import { NOTHING, type Bus } from '#host/bus/bus.ts';
import type { CallerSeal } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import type { AuthorizationServer, PolicyDeps } from '#policies/policy.ts';
import { type AuthorizationServerReply, authorizationServerReply, policyAuthorizationServer, tokenPurpose } from '#protocol/subjects/policy.ts';

/** The policy service may have to try three URLs, and to register after that. */
const ASK_MS = 25_000;

interface Asking {
  readonly issuer: string;
  readonly verb: 'metadata' | 'register' | 'token';
  readonly client?: string;
}

export function authorizationServers(bus: Pick<Bus, 'request'>, seal: Pick<CallerSeal, 'sealText' | 'openText'>): PolicyDeps['authorizationServer'] {
  const ask = async (meta: Asking, payload: Uint8Array): Promise<AuthorizationServerReply> => {
    const bytes = await bus.request(policyAuthorizationServer.to({}), { payload, meta, deadline: clock() + ASK_MS });
    return authorizationServerReply.parse(JSON.parse(new TextDecoder().decode(bytes)));
  };
  return (issuer, client): AuthorizationServer => ({
    metadata: async () => JSON.parse((await ask({ issuer, verb: 'metadata' }, NOTHING)).text) as Record<string, unknown>,
    register: (body) => ask({ issuer, verb: 'register' }, body),
    async token(request) {
      const of = { issuer, ...(client === undefined ? {} : { client: client.id }) };
      const sealed = await seal.sealText(JSON.stringify(request), tokenPurpose('question', of), ASK_MS);
      const { status, text } = await ask({ ...of, verb: 'token' }, new TextEncoder().encode(sealed));
      return { status, text: await seal.openText(text, tokenPurpose('answer', of)) };
    },
  });
}
