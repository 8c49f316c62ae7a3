/** `gcp`: a token of Google, for an account whose credentials are named or found where the connector runs. */
import { z } from 'zod';
import { type SecretSource, secretSource } from './secret-source.ts';
import { nonEmpty } from './section.ts';

export const gcpSchema = z
  .strictObject({ type: z.enum(['idToken', 'accessToken']).nullish(), audience: nonEmpty.nullish(), credential: secretSource.nullish() })
  .refine(({ type, audience }) => audience == null || type === 'idToken', { path: ['audience'], message: 'only an idToken has an audience: type: idToken' });

export interface GoogleToken {
  readonly kind: 'gcp';
  readonly type: 'idToken' | 'accessToken';
  /** Of an ID token; undefined = `https://` and the host of the server. */
  readonly audience: string | undefined;
  /** JSON, as of Application Default Credentials; undefined = what is found where the connector runs. */
  readonly credential: SecretSource | undefined;
}

export const googleToken = ({ type, audience, credential }: z.output<typeof gcpSchema>): GoogleToken => ({
  kind: 'gcp',
  type: type ?? 'accessToken',
  audience: audience ?? undefined,
  credential: credential ?? undefined,
});
