/** `aws`: requests are signed (Signature Version 4) with keys that are written, found where the connector runs, or had from STS for a role. */
import { z } from 'zod';
import type { ValueSource } from './credential-location.ts';
import { secretText } from './secret-source.ts';
import { Secret } from './secret.ts';
import { exactlyOne, nonEmpty } from './section.ts';

/** What STS takes (API reference, AssumeRole and Tag). */
export const SESSION_NAME = /^[\w+=,.@-]{2,64}$/;
export const TAG_VALUE = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u;
const TAG_KEY = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u;
const TAGS_MAX = 50;
const ROLE = /^arn:[\w+=/,.@:-]{16,2044}$/;
/** As the format has it, which signs for models first of all. */
const SERVICE = 'bedrock';

const secret = secretText.transform((text) => new Secret(text));
const expression = z.strictObject({ expression: nonEmpty });

const tag = z
  .strictObject({
    key: z.string().regex(TAG_KEY, 'expected 1 to 128 letters, digits, spaces or _.:/=+-@'),
    value: z.string().regex(TAG_VALUE, 'expected at most 256 letters, digits, spaces or _.:/=+-@').nullish(),
    expression: nonEmpty.nullish(),
  })
  .superRefine(exactlyOne(['value', 'expression']));

const role = z.strictObject({
  roleArn: z.string().regex(ROLE, 'expected the ARN of a role, as in arn:aws:iam::123456789012:role/name'),
  sessionName: z.union([z.string().regex(SESSION_NAME, 'expected 2 to 64 letters, digits or +=,.@_-'), expression], 'expected a text, or an expression').nullish(),
  tags: z
    .array(tag)
    .max(TAGS_MAX, `at most ${TAGS_MAX} tags`)
    .refine((tags) => new Set(tags.map(({ key }) => key)).size === tags.length, 'each key at most once')
    .nullish(),
});

export const awsSchema = z
  .strictObject({ accessKeyId: secret.nullish(), secretAccessKey: secret.nullish(), sessionToken: secret.nullish(), region: nonEmpty.nullish(), serviceName: nonEmpty.nullish(), assumeRole: role.nullish() })
  .superRefine(({ accessKeyId, secretAccessKey, sessionToken, assumeRole }, context) => {
    const complain = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if (accessKeyId == null && secretAccessKey != null) complain('accessKeyId', 'required, and missing: secretAccessKey needs it');
    if (accessKeyId != null && secretAccessKey == null) complain('secretAccessKey', 'required, and missing: accessKeyId needs it');
    if (accessKeyId == null && sessionToken != null) complain('sessionToken', 'this belongs to accessKeyId and secretAccessKey');
    if (accessKeyId != null && assumeRole != null) complain('assumeRole', 'a role is assumed with the credentials of the environment: leave out accessKeyId and secretAccessKey');
  });

export interface AwsKeys {
  readonly id: Secret;
  readonly secret: Secret;
  readonly session: Secret | undefined;
}

/** A text of the configuration, or one that each call has its own of. */
export type RoleText = string | ValueSource;

export interface AwsRole {
  readonly arn: string;
  /** Undefined = one that nobody else has. */
  readonly sessionName: RoleText | undefined;
  readonly tags: readonly { readonly key: string; readonly value: RoleText }[];
}

export interface AwsSigning {
  readonly kind: 'aws';
  /** Undefined = those of where the connector runs. */
  readonly keys: AwsKeys | undefined;
  /** Undefined = that of where the connector runs. */
  readonly region: string | undefined;
  readonly service: string;
  readonly role: AwsRole | undefined;
}

const valueOf = (source: string): ValueSource => ({ in: 'value', expression: source });

export function awsSigning({ accessKeyId, secretAccessKey, sessionToken, region, serviceName, assumeRole }: z.output<typeof awsSchema>): AwsSigning {
  const given = accessKeyId == null || secretAccessKey == null ? undefined : { id: accessKeyId, secret: secretAccessKey, session: sessionToken ?? undefined };
  return { kind: 'aws', keys: given, region: region ?? undefined, service: serviceName ?? SERVICE, role: assumeRole == null ? undefined : roleOf(assumeRole) };
}

const roleOf = ({ roleArn, sessionName, tags }: z.output<typeof role>): AwsRole => ({
  arn: roleArn,
  sessionName: sessionName == null || typeof sessionName === 'string' ? (sessionName ?? undefined) : valueOf(sessionName.expression),
  tags: (tags ?? []).map(({ key, value, expression: source }) => ({ key, value: source == null ? (value ?? '') : valueOf(source) })),
});

/** What it has to know of each call. */
export const sourcesOfRole = ({ sessionName, tags }: AwsRole): readonly ValueSource[] =>
  [sessionName, ...tags.map(({ value }) => value)].filter((text): text is ValueSource => typeof text === 'object');
