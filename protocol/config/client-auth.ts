/** `clientAuth`: how a token endpoint knows us (RFC 6749 §2.3, RFC 7523 §2.2). */
import { z } from 'zod';
import { type SecretSource, secretSource } from './secret-source.ts';
import { nonEmpty } from './section.ts';
import { type Signer, signingAlgorithm } from './signed-token.ts';

const SIGNED = ['signingKey', 'alg', 'kid', 'assertionAudience', 'certificate', 'certificateHeader'] as const;

export const clientAuthSchema = z
  .strictObject({
    method: z.enum(['clientSecretBasic', 'clientSecretPost', 'privateKeyJwt']).nullish(),
    clientId: nonEmpty,
    clientSecret: secretSource.nullish(),
    signingKey: secretSource.nullish(),
    alg: signingAlgorithm.nullish(),
    kid: nonEmpty.nullish(),
    assertionAudience: nonEmpty.nullish(),
    certificate: secretSource.nullish(),
    certificateHeader: z.enum(['x5c', 'x5t#S256']).nullish(),
  })
  .superRefine(({ method, ...given }, context) => {
    const complain = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if (method === 'privateKeyJwt') {
      for (const key of ['signingKey', 'assertionAudience'] as const) if (given[key] == null) complain(key, `required, and missing: privateKeyJwt needs ${key}`);
      if (given.clientSecret != null) complain('clientSecret', 'privateKeyJwt has no secret');
      if (given.certificate != null && given.certificateHeader == null) complain('certificateHeader', 'required, and missing: where the certificate goes');
      if (given.certificateHeader != null && given.certificate == null) complain('certificate', 'required, and missing: what goes into the header');
      return;
    }
    for (const key of SIGNED) if (given[key] != null) complain(key, 'this belongs to method: privateKeyJwt');
    if (given.clientSecret == null && method !== 'clientSecretPost') complain('clientSecret', 'required, and missing: the secret of the client');
  });

export type ClientAuth =
  | { readonly method: 'clientSecretBasic'; readonly clientId: string; readonly secret: SecretSource }
  | { readonly method: 'clientSecretPost'; readonly clientId: string; readonly secret: SecretSource | undefined }
  | { readonly method: 'privateKeyJwt'; readonly clientId: string; readonly signer: Signer; readonly audience: string };

/** The schema has seen to it that what a method needs is there. */
export function clientAuth({ method, clientId, clientSecret, signingKey, alg, kid, assertionAudience, certificate, certificateHeader }: z.output<typeof clientAuthSchema>): ClientAuth {
  switch (method) {
    case 'privateKeyJwt': {
      const shown = certificate == null || certificateHeader == null ? {} : { certificate: { chain: certificate, header: certificateHeader } };
      return { method, clientId, signer: { key: signingKey as SecretSource, algorithm: alg ?? 'RS256', kid: kid ?? undefined, ...shown }, audience: assertionAudience ?? '' };
    }
    case 'clientSecretPost':
      return { method, clientId, secret: clientSecret ?? undefined };
    default:
      return { method: 'clientSecretBasic', clientId, secret: clientSecret as SecretSource };
  }
}
