/**
 * Where keys of AWS come from: what Amazon's own chain finds where the connector runs, and STS, which gives keys of a role.
 * The packages for that are loaded when the first request is signed: others have no use for them.
 */
import type { AwsKeys } from '#protocol/config/aws-signing.ts';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Environment } from '#host/environment.ts';
import { ANSWER_MS, type HttpAsked, LimitedHttp } from '../callouts/limited-http.ts';
import type { CredentialSurroundings } from './credentials.ts';
import type { Issued } from './held.ts';

/** Keys without an end are looked up again: their files and variables may be others by then. */
const LOOK_AGAIN_MS = 300_000;
/** What errors of AWS are called, and nothing that a secret could be. */
const ERROR_NAME = /^[A-Za-z]{1,60}$/;

/** As their libraries have them. */
interface PlainKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export const plainKeys = ({ id, secret, session }: AwsKeys): PlainKeys => ({ accessKeyId: id.reveal(), secretAccessKey: secret.reveal(), ...(session === undefined ? {} : { sessionToken: session.reveal() }) });

/** Who asks for keys of AWS. */
interface AwsAsker extends Pick<CredentialSurroundings, 'target' | 'learn' | 'env'> {
  /** Of the configuration, for messages. */
  readonly at?: string;
}

type Learned = Pick<CredentialSurroundings, 'learn'>;

function issued({ accessKeyId, secretAccessKey, sessionToken }: PlainKeys, end: Date | undefined, { learn }: Learned): Issued<AwsKeys> {
  learn(secretAccessKey, 'passing');
  if (sessionToken !== undefined) learn(sessionToken, 'passing');
  const value = { id: new Secret(accessKeyId), secret: new Secret(secretAccessKey), session: sessionToken === undefined ? undefined : new Secret(sessionToken) };
  return { value, goodMs: end === undefined ? LOOK_AGAIN_MS : Math.max(0, end.getTime() - Date.now()) };
}

/** Environment, shared files, single sign-on, web identity, container, instance: the first that has some. @throws Fault */
export async function ambientKeys(surroundings: AwsAsker): Promise<Issued<AwsKeys>> {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(awsFault(surroundings, '', `credentials of AWS were not found within ${ANSWER_MS} ms where the connector runs`)), ANSWER_MS);
  try {
    // Anew each time: what it remembers, it uses past its end.
    const found = await Promise.race([defaultProvider({ ignoreCache: true, maxRetries: 1 })(), late.promise]);
    return issued(found, found.expiration, surroundings);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw awsFault(surroundings, '', `no credentials of AWS are to be had where the connector runs${named(error, ['CredentialsProviderError'])}`);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws Fault when nobody says. */
export async function ambientRegion(surroundings: AwsAsker): Promise<string> {
  const region = ofEnvironment(surroundings.env) ?? (await ofSharedFiles());
  if (region === undefined) throw awsFault(surroundings, '.region', 'there is none, and the environment of the connector names none (AWS_REGION)');
  return region;
}

const ofEnvironment = (env: Environment): string | undefined => env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || undefined;

async function ofSharedFiles(): Promise<string | undefined> {
  const { STSClient } = await import('@aws-sdk/client-sts');
  const client = new STSClient({});
  return client.config.region().catch(() => undefined).finally(() => client.destroy());
}

export interface RoleAsked {
  readonly arn: string;
  readonly sessionName: string;
  readonly tags: readonly { readonly key: string; readonly value: string }[];
}

/** STS, asked with keys that may assume roles. */
export class RoleKeys {
  readonly #surroundings: CredentialSurroundings;
  readonly #http: LimitedHttp;
  readonly #source: () => Promise<AwsKeys>;
  #asked = '';

  constructor(surroundings: CredentialSurroundings, source: () => Promise<AwsKeys>) {
    this.#surroundings = surroundings;
    this.#source = source;
    this.#http = new LimitedHttp({ target: surroundings.target, key: 'backendAuth.aws.assumeRole', of: 'STS' });
  }

  /** @throws Fault */
  async ask({ arn, sessionName, tags }: RoleAsked, region: string): Promise<Issued<AwsKeys>> {
    const { STSClient, AssumeRoleCommand } = await import('@aws-sdk/client-sts');
    const keys = await this.#source();
    // Twice at most: STS says what time it is when our clock is wrong.
    const client = new STSClient({ region, credentials: plainKeys(keys), maxAttempts: 2, requestHandler: this.#handler });
    try {
      const command = new AssumeRoleCommand({ RoleArn: arn, RoleSessionName: sessionName, ...(tags.length === 0 ? {} : { Tags: tags.map(({ key: Key, value: Value }) => ({ Key, Value })) }) });
      const { Credentials: { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = {} } = await client.send(command);
      if (AccessKeyId === undefined || SecretAccessKey === undefined) throw this.#fault('gave no credentials');
      return issued({ accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, ...(SessionToken === undefined ? {} : { sessionToken: SessionToken }) }, Expiration ?? new Date(), this.#surroundings);
    } catch (error) {
      throw error instanceof Fault ? error : this.#fault(`gave no credentials${named(error)}`);
    } finally {
      client.destroy();
    }
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** What AWS calls a request handler: within our limits. */
  get #handler() {
    return {
      metadata: { handlerProtocol: 'http/1.1' },
      handle: async (request: AwsRequest) => {
        const asked = askedOf(request);
        this.#asked = asked.url;
        const { status, headers, text } = await this.#http.send(asked);
        return { response: { statusCode: status, headers: headers as Record<string, string>, body: Buffer.from(text) } };
      },
      updateHttpClientConfig: () => undefined,
      httpHandlerConfigs: () => ({}),
      destroy: () => undefined,
    };
  }

  #fault(what: string): Fault {
    const where = URL.canParse(this.#asked) ? ` at ${new URL(this.#asked).origin}` : '';
    return awsFault(this.#surroundings, '.assumeRole', `STS${where} ${what}`);
  }
}

interface AwsRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: unknown;
}

function askedOf({ method, protocol, hostname, port, path, headers, body }: AwsRequest): HttpAsked {
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : undefined;
  return { method, url: `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}`, headers, body: text };
}

export const awsFault = ({ target, at = 'backendAuth.aws' }: AwsAsker, key: string, what: string): Fault =>
  new Fault('upstream', `${target}: ${at}${key}: ${what}`, { target, reason: 'credential' });

/** The name of an error, where it says more than that there is one. */
function named(error: unknown, plain: readonly string[] = []): string {
  const { name } = error as { name?: unknown };
  return typeof name === 'string' && ERROR_NAME.test(name) && !plain.includes(name) ? ` (${name})` : '';
}
