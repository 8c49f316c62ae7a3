/**
 * What an external_account of Google shows of itself at the token endpoint (AIP-4117), by where that comes from:
 *
 *   file, url     a token that somebody else put there
 *   executable    a token that a program prints, where whoever runs the connector allows programs
 *   aws           a request to AWS, signed with the keys of the machine, which Google makes in its place
 *   certificate   the certificates of a connection, over which the endpoint is asked
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type BackendTls, backendTls } from '#protocol/config/backend-tls.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { NamedFile } from '#host/named-file.ts';
import { awsSigner } from './aws-signer.ts';
import { ambientKeys, ambientRegion } from './aws-sources.ts';
import type { CredentialSurroundings } from './credentials.ts';
import { tokenOfProgram } from './google-program.ts';
import { certificatesIn } from './signed-credential.ts';
import type { TokenEndpoint } from '../callouts/token-endpoint.ts';

const AT = 'backendAuth.gcp.credential: credential_source';
/** Who asks AWS who they are. */
const CALLER_IDENTITY = 'sts';
const PROGRAM_MS = { least: 5_000, usual: 30_000, most: 120_000 } as const;

const url = z.url({ protocol: /^https?$/ });
const format = z.object({ type: z.enum(['text', 'json']), subject_token_field_name: z.string().optional() });
const program = z.object({ command: z.string().min(1), timeout_millis: z.int().min(PROGRAM_MS.least).max(PROGRAM_MS.most).default(PROGRAM_MS.usual), output_file: z.string().min(1).optional() });

const certificates = z.object({ certificate_config_location: z.string().min(1).optional(), trust_chain_path: z.string().min(1).optional() });

/** An AWS source has a `url`, too. */
export const credentialSource = z.union([
  z.object({ environment_id: z.literal('aws1'), regional_cred_verification_url: z.string() }),
  z.object({ file: z.string(), format: format.optional() }),
  z.object({ url, headers: z.record(z.string(), z.string()).optional(), format: format.optional() }),
  z.object({ executable: program }),
  z.object({ certificate: certificates }),
]);

const certificateConfig = z.object({ cert_configs: z.object({ workload: z.object({ cert_path: z.string().min(1), key_path: z.string().min(1) }) }) });

type Source = z.infer<typeof credentialSource>;

/** Of whom it is. */
export interface SubjectOf {
  readonly credential_source: Source;
  readonly audience: string;
  readonly subject_token_type: string;
  readonly service_account_impersonation_url?: string | undefined;
}

export interface Subject {
  readonly token: string;
  /** How the endpoint is connected to, where that says who asks. */
  readonly tls?: BackendTls;
}

/** @throws Fault, which quotes nothing. */
export async function subjectOf(account: SubjectOf, surroundings: CredentialSurroundings, endpoint: TokenEndpoint): Promise<Subject> {
  const { credential_source: source, audience } = account;
  if ('executable' in source) return { token: await tokenOfProgram({ ...account, ...source.executable }, surroundings, (what) => fault(surroundings, what)) };
  if ('environment_id' in source) return { token: await signedIdentity(source.regional_cred_verification_url, audience, surroundings) };
  if ('certificate' in source) return certified(source.certificate, surroundings);
  const text = 'file' in source ? fileAt(source.file, surroundings).text() : await endpoint.text({ method: 'GET', url: source.url, headers: source.headers ?? {} });
  const field = source.format?.subject_token_field_name ?? '';
  const token = source.format?.type === 'json' ? (jsonOf(text) as Readonly<Record<string, unknown>> | undefined)?.[field] : text.trim();
  if (typeof token !== 'string' || token === '') throw fault(surroundings, 'holds no token where it should');
  surroundings.learn(token, 'passing');
  return { token };
}

/** As Google's endpoint takes it: a request that it makes to AWS, with the signature of whoever it is about. */
async function signedIdentity(template: string, audience: string, { target, env, learn }: CredentialSurroundings): Promise<string> {
  const asker = { target, env, learn, at: AT };
  const region = await ambientRegion(asker);
  const asked = template.replace('{region}', region);
  if (!URL.canParse(asked)) throw fault(asker, 'has no URL in regional_cred_verification_url');
  const { protocol, hostname, host, pathname, searchParams } = new URL(asked);
  const signer = await awsSigner((await ambientKeys(asker)).value, { service: CALLER_IDENTITY, region });
  const { headers } = await signer.sign({ method: 'POST', protocol, hostname, path: pathname, query: Object.fromEntries(searchParams), headers: { host, 'x-goog-cloud-target-resource': audience } });
  return encodeURIComponent(JSON.stringify({ url: asked, method: 'POST', headers: Object.entries(headers).map(([key, value]) => ({ key, value })) }));
}

function certified({ certificate_config_location: named, trust_chain_path: chain }: z.infer<typeof certificates>, surroundings: CredentialSurroundings): Subject {
  const { env } = surroundings;
  const found = named ?? env['GOOGLE_API_CERTIFICATE_CONFIG'] ?? join(env['CLOUDSDK_CONFIG'] ?? join(env['HOME'] ?? '', '.config', 'gcloud'), 'certificate_config.json');
  const config = certificateConfig.safeParse(jsonOf(fileAt(found, surroundings).text()));
  if (!config.success) throw fault(surroundings, `leads to the file ${found}, which names no certificate and key of a workload`);
  const { cert_path: cert, key_path: key } = config.data.cert_configs.workload;
  const shownIn = (path: string): string[] => certificatesIn(fileAt(path, surroundings).text(), { ...surroundings, key: AT }).map(({ raw }) => raw.toString('base64'));
  const shown = [...new Set([...shownIn(cert).slice(0, 1), ...(chain === undefined ? [] : shownIn(chain))])];
  return { token: JSON.stringify(shown), tls: backendTls({ cert, key }) };
}

const fileAt = (path: string, { target, learn }: CredentialSurroundings): NamedFile => new NamedFile(path, { target, learn, key: AT });

const fault = ({ target }: Pick<CredentialSurroundings, 'target'>, what: string): Fault => new Fault('upstream', `${target}: ${AT} ${what}`, { target, reason: 'credential' });

export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
