/**
 * The token of the caller, exchanged for one that is meant for the server (`oauthTokenExchange`, `crossAppAccess`).
 *
 * E1 A token that was had is used for calls that would ask for it in the same words alone, until shortly before it ends (held.ts):
 *    same token of the caller, same actor, same parameters. They are known by a digest.
 * E2 A token of another type than was asked for, or one that is shown otherwise than as a bearer token, is none.
 */
import { createHash } from 'node:crypto';
import { decodeJwt } from 'jose';
import type { TokenExchange } from '#protocol/config/token-exchange.ts';
import type { TokenStep } from '#protocol/config/token-endpoint.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Caller } from '#host/caller-seal.ts';
import { CalloutHttp } from '../callouts/callout-http.ts';
import { callerToken, callerValue } from './caller-credential.ts';
import { type Prove, clientProof } from './client-proof.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { HeldByKey, type Issued } from './held.ts';
import { type Outgoing, place } from './outgoing.ts';
import { TOKEN_ENDPOINT, type TokenAnswer, TokenEndpoint } from '../callouts/token-endpoint.ts';

const GRANTS = { tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange', jwtBearer: 'urn:ietf:params:oauth:grant-type:jwt-bearer' } as const;

interface Step {
  readonly config: TokenStep;
  readonly url: string;
  readonly endpoint: TokenEndpoint;
  readonly prove: Prove;
}

type Pairs = readonly (readonly [name: string, value: string])[];

export class ExchangeCredential implements Credential {
  readonly ofCaller = true;
  readonly #target: string;
  readonly #config: TokenExchange;
  readonly #first: Step;
  readonly #second: Step | undefined;
  readonly #held: HeldByKey<string>;

  constructor(config: TokenExchange, surroundings: CredentialSurroundings) {
    const { key, onward, cache } = config;
    this.#target = surroundings.target;
    this.#config = config;
    this.#first = stepOf(config, onward === undefined ? key : `${key}.identityProvider`, surroundings);
    this.#second = onward === undefined ? undefined : stepOf(onward, `${key}.resourceAuthorizationServer`, surroundings);
    this.#held = new HeldByKey(cache.entriesMax);
  }

  add(outgoing: Outgoing, caller: Caller | undefined): void | Promise<void> {
    const { location } = this.#config;
    const ofCall = this.#ofCall(caller);
    const key = createHash('sha256').update(JSON.stringify(ofCall)).digest('base64');
    const exchanged = this.#held.get(key, () => this.#exchange(ofCall));
    if (typeof exchanged === 'string') return place(exchanged, location, outgoing);
    return exchanged.then((late) => place(late, location, outgoing));
  }

  async close(): Promise<void> {
    await Promise.all([this.#first.endpoint.close(), this.#second?.endpoint.close()]);
  }

  /** What is said of this call, as parameters of the request. @throws Fault */
  #ofCall(caller: Caller | undefined): Pairs {
    const { key, grant, subject, actor, params } = this.#config;
    const token = callerToken(caller, subject.source, this.#target);
    const more = params.map(({ name, value }) => [name, callerValue(caller, value, { target: this.#target, key: `${key}.additionalParams.${name}` })] as const);
    if (grant === 'jwtBearer') return [['assertion', token], ...more];
    const of: Pairs = [['subject_token', token], ['subject_token_type', subject.type]];
    if (actor === undefined) return [...of, ...more];
    const acting = callerToken(caller, actor.source, this.#target);
    if (actor.enforceMayAct && !mayAct(token, acting)) throw new Fault('denied', `${this.#target}: ${key}.actorToken: the token of the caller does not let this actor act for them`, { target: this.#target, reason: 'may-act' });
    return [...of, ['actor_token', acting], ['actor_token_type', actor.type], ...more];
  }

  async #exchange(ofCall: Pairs): Promise<Issued<string>> {
    const { grant, cache } = this.#config;
    const had = await this.#ask(this.#first, [['grant_type', GRANTS[grant]], ...ofCall]);
    const { accessToken, expiresInMs, tokenType } = this.#second === undefined ? had : await this.#ask(this.#second, [['grant_type', GRANTS.jwtBearer], ['assertion', had.accessToken]]);
    if (tokenType !== undefined && tokenType.toLowerCase() !== 'bearer') throw faultOf(this.#second ?? this.#first, 'gave a token that is no bearer token');
    return { value: accessToken, goodMs: expiresInMs ?? cache.defaultTtlMs };
  }

  /** E2 */
  async #ask(step: Step, said: Pairs): Promise<TokenAnswer & { readonly accessToken: string }> {
    const { config, endpoint, prove } = step;
    const question = { url: step.url, form: new URLSearchParams([...said, ...config.wanted].map(([name, value]): [string, string] => [name, value])), headers: {} as Record<string, string> };
    await prove(question);
    const answer = await endpoint.ask(question);
    const { accessToken, issuedType } = answer;
    if (accessToken === undefined) throw faultOf(step, 'gave no token');
    const wanted = config.wanted.find(([name]) => name === 'requested_token_type')?.[1];
    if (wanted !== undefined && issuedType !== undefined && issuedType !== wanted) throw faultOf(step, 'gave a token of another type than was asked for');
    return { ...answer, accessToken };
  }
}

function stepOf(config: TokenStep, key: string, surroundings: CredentialSurroundings): Step {
  const { callout, path, client } = config;
  const http = new CalloutHttp(callout, { ...surroundings, key, of: TOKEN_ENDPOINT });
  return { config, url: `${callout.endpoints[0].origin}${path}`, endpoint: new TokenEndpoint({ ...surroundings, key }, http), prove: clientProof(client, key, surroundings) };
}

const faultOf = ({ url, endpoint }: Step, what: string): Fault => endpoint.fault(url, what);

/**
 * RFC 8693 §4.4: every claim that `may_act` names is one of the actor's; of a list, one. Neither token is verified here: the
 * endpoint does that, and this keeps those away that it would have to refuse.
 */
function mayAct(token: string, acting: string): boolean {
  const allowed = claimsOf(token)?.['may_act'];
  const actor = claimsOf(acting);
  if (typeof allowed !== 'object' || allowed === null || Array.isArray(allowed) || actor === undefined) return false;
  const claims = Object.entries(allowed);
  return claims.length > 0 && claims.every(([name, expected]) => Object.hasOwn(actor, name) && fits(actor[name], expected));
}

const fits = (claim: unknown, expected: unknown): boolean => (Array.isArray(expected) ? expected.some((one) => same(one, claim)) : same(expected, claim));

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

function claimsOf(token: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return decodeJwt(token);
  } catch {
    return undefined;
  }
}
