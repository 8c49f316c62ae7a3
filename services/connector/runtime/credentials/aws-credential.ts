/**
 * The signature of AWS (`aws`, Signature Version 4) on a request.
 *
 * A1 It covers the method, the path, the query, the body, and the headers host, content-type and x-amz-*: it is made last, when
 *    all of these are what the server will see.
 * A2 Keys of a role are had for what a call says of its session, and used for calls that say the same.
 * A3 A refusal whose Date is not our time says that our clock is wrong: the request is signed for theirs, once. A refusal for
 *    any other reason stays one.
 */
import { type AwsKeys, type AwsRole, type AwsSigning, type RoleText, SESSION_NAME, TAG_VALUE, sourcesOfRole } from '#protocol/config/aws-signing.ts';
import type { Caller } from '#host/caller-seal.ts';
import { type AwsRequest, awsSigner } from './aws-signer.ts';
import { RoleKeys, ambientKeys, ambientRegion, awsFault } from './aws-sources.ts';
import { callerValue } from './caller-credential.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { Held, HeldByKey } from './held.ts';
import type { Outgoing } from './outgoing.ts';

/** Callers whose keys of the role are kept. */
const SESSIONS_MAX = 8_192;
/** AWS takes five minutes for the same time. */
const SKEW_MS = 240_000;
const SIGNED_HEADER = /^(?:content-type|x-amz-.*|x-amzn-.*)$/;
const REFUSED: ReadonlySet<number> = new Set([401, 403]);

export class AwsCredential implements Credential {
  readonly ofCaller: boolean;
  readonly #config: AwsSigning;
  readonly #surroundings: CredentialSurroundings;
  readonly #ambient: Held<AwsKeys>;
  readonly #roles: RoleKeys | undefined;
  readonly #sessions = new HeldByKey<AwsKeys>(SESSIONS_MAX);
  readonly #name = `parley-${crypto.randomUUID()}`;
  #region: string | undefined;
  /** Of the server's clock, against ours. */
  #skewMs = 0;

  constructor(config: AwsSigning, surroundings: CredentialSurroundings) {
    const { role, region } = config;
    this.#config = config;
    this.#surroundings = surroundings;
    this.#region = region;
    this.#ambient = new Held(() => ambientKeys(surroundings));
    this.#roles = role === undefined ? undefined : new RoleKeys(surroundings, async () => this.#ambient.get());
    this.ofCaller = role !== undefined && sourcesOfRole(role).length > 0;
  }

  async add(outgoing: Outgoing, caller: Caller | undefined): Promise<void> {
    this.#region ??= await ambientRegion(this.#surroundings);
    const keys = await this.#keys(caller, this.#region);
    const signer = await awsSigner(keys, { service: this.#config.service, region: this.#region });
    const { headers } = await signer.sign(requestOf(outgoing, this.#surroundings.url), { signingDate: new Date(Date.now() + this.#skewMs) });
    for (const name of ['authorization', 'x-amz-date', 'x-amz-security-token']) if (headers[name] !== undefined) outgoing.headers[name] = headers[name];
  }

  /** A3 */
  corrected(status: number, date: string | undefined): boolean {
    const theirs = REFUSED.has(status) && date !== undefined ? Date.parse(date) : Number.NaN;
    const skewMs = theirs - Date.now();
    if (Number.isNaN(skewMs) || Math.abs(skewMs - this.#skewMs) < SKEW_MS) return false;
    this.#skewMs = skewMs;
    return true;
  }

  async close(): Promise<void> {
    await this.#roles?.close();
  }

  #keys(caller: Caller | undefined, region: string): AwsKeys | Promise<AwsKeys> {
    const { keys, role } = this.#config;
    const roles = this.#roles;
    if (keys !== undefined) return keys;
    if (role === undefined || roles === undefined) return this.#ambient.get();
    const { sessionName, tags } = this.#session(role, caller);
    return this.#sessions.get(JSON.stringify([sessionName, tags]), () => roles.ask({ arn: role.arn, sessionName, tags }, region));
  }

  #session({ sessionName, tags }: AwsRole, caller: Caller | undefined): { sessionName: string; tags: { key: string; value: string }[] } {
    const text = (written: RoleText, key: string, good: RegExp): string => {
      if (typeof written === 'string') return written;
      const value = callerValue(caller, written, { target: this.#surroundings.target, key: `backendAuth.aws.assumeRole.${key}` });
      if (value !== '' && good.test(value)) return value;
      throw awsFault(this.#surroundings, `.assumeRole.${key}`, 'its expression makes a text that STS does not take');
    };
    return {
      sessionName: text(sessionName ?? this.#name, 'sessionName', SESSION_NAME),
      tags: tags.map(({ key, value }, index) => ({ key, value: text(value, `tags[${index}]`, TAG_VALUE) })),
    };
  }
}

/** What is signed of it (A1). */
function requestOf({ method, path, headers, body }: Outgoing, { protocol, hostname, port, host }: URL): AwsRequest {
  const [pathname, search] = cut(path);
  const signed = Object.entries(headers).filter(([name]) => SIGNED_HEADER.test(name));
  return { method, protocol, hostname, ...(port === '' ? {} : { port: Number(port) }), path: pathname, query: queryOf(search), headers: { ...Object.fromEntries(signed), host: headers['host'] ?? host }, body };
}

function cut(path: string): [string, string] {
  const at = path.indexOf('?');
  return at < 0 ? [path, ''] : [path.slice(0, at), path.slice(at + 1)];
}

/** Decoded: it is encoded again, in the one way that both sides agree on. */
function queryOf(search: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (const pair of search.split('&').filter((text) => text !== '')) {
    const at = pair.indexOf('=');
    const [name = '', value = ''] = (at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]).map(decoded);
    const before = query[name];
    query[name] = before === undefined ? value : [before, value].flat();
  }
  return query;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
