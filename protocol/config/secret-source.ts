/** A secret as the document writes it: a text, or a file where connectors run. Wrapped as soon as it is read (secret.ts). */
import { z } from 'zod';
import { Secret } from './secret.ts';
import { nonEmpty } from './section.ts';

export const SECRET_CHARS_MAX = 16_384;

export type SecretSource = { readonly secret: Secret } | { readonly file: string };

export const secretText = z.string().min(1, 'expected a text that is not empty').max(SECRET_CHARS_MAX, `a secret has at most ${SECRET_CHARS_MAX} characters`);

export const secretFile = z.strictObject({ file: nonEmpty });

export const secretSource = z
  .union([secretText, secretFile], 'expected a text, or file: with the path of one')
  .transform((written): SecretSource => (typeof written === 'string' ? { secret: new Secret(written) } : written));
