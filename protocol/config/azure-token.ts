/** `azure`: a token of Microsoft Entra, for an application, a workload or a machine. */
import { z } from 'zod';
import { Secret } from './secret.ts';
import { SECRET_CHARS_MAX } from './secret-source.ts';
import { exactlyOne, nonEmpty } from './section.ts';

const nothing = z.strictObject({});
const identity = z.strictObject({ clientId: nonEmpty.optional(), objectId: nonEmpty.optional(), resourceId: nonEmpty.optional() }).superRefine(exactlyOne(['clientId', 'objectId', 'resourceId']));

const explicit = z
  .strictObject({
    clientSecret: z.strictObject({ tenant_id: nonEmpty, client_id: nonEmpty, client_secret: z.string().min(1, 'expected a text that is not empty').max(SECRET_CHARS_MAX, `a secret has at most ${SECRET_CHARS_MAX} characters`).transform((text) => new Secret(text)) }).optional(),
    managedIdentity: z.strictObject({ userAssignedIdentity: identity.nullish() }).optional(),
    workloadIdentity: nothing.optional(),
  })
  .superRefine(exactlyOne(['clientSecret', 'managedIdentity', 'workloadIdentity']));

export const azureSchema = z
  .strictObject({ explicitConfig: explicit.optional(), implicit: nothing.optional(), developerImplicit: nothing.optional() })
  .superRefine(exactlyOne(['explicitConfig', 'implicit', 'developerImplicit']));

export interface AzureToken {
  readonly kind: 'azure';
  readonly source: AzureSource;
}

export type AzureSource =
  | { readonly of: 'application'; readonly tenant: string; readonly client: string; readonly secret: Secret }
  | { readonly of: 'machine'; readonly identity: AzureIdentity | undefined }
  | { readonly of: 'workload' }
  /** Whoever is logged in with Azure's command line. */
  | { readonly of: 'developer' }
  /** The first of them that the environment of the connector speaks of. */
  | { readonly of: 'environment' };

export interface AzureIdentity {
  readonly by: 'clientId' | 'objectId' | 'resourceId';
  readonly id: string;
}

export function azureToken({ explicitConfig, developerImplicit }: z.output<typeof azureSchema>): AzureToken {
  if (developerImplicit !== undefined) return { kind: 'azure', source: { of: 'developer' } };
  const { clientSecret, managedIdentity } = explicitConfig ?? {};
  if (explicitConfig === undefined) return { kind: 'azure', source: { of: 'environment' } };
  if (clientSecret !== undefined) return { kind: 'azure', source: { of: 'application', tenant: clientSecret.tenant_id, client: clientSecret.client_id, secret: clientSecret.client_secret } };
  return { kind: 'azure', source: managedIdentity === undefined ? { of: 'workload' } : { of: 'machine', identity: identityOf(managedIdentity.userAssignedIdentity) } };
}

function identityOf(written: z.output<typeof identity> | null | undefined): AzureIdentity | undefined {
  if (written?.clientId !== undefined) return { by: 'clientId', id: written.clientId };
  if (written?.objectId !== undefined) return { by: 'objectId', id: written.objectId };
  return written?.resourceId === undefined ? undefined : { by: 'resourceId', id: written.resourceId };
}
