import { expect, test } from 'vitest';
import { Secret } from '#protocol/config/secret.ts';
import { withSecret } from './shared-clients.ts';

const CLIENT = { id: 'shared', secret: new Secret('hush') };
const sent = (form: string, authorization?: string): boolean => new URLSearchParams(withSecret({ form, authorization }, CLIENT)).get('client_secret') === 'hush';

test.each([
  ['a code of the client', 'grant_type=authorization_code&client_id=shared&code=c', undefined, true],
  ['a token to refresh', 'grant_type=refresh_token&client_id=shared&refresh_token=r', undefined, true],
  ['the client itself, as whom anybody could come', 'grant_type=client_credentials&client_id=shared', undefined, false],
  ['a password', 'grant_type=password&client_id=shared', undefined, false],
  ['no grant', 'client_id=shared', undefined, false],
  ['another client', 'grant_type=authorization_code&client_id=another', undefined, false],
  ['no client', 'grant_type=authorization_code', undefined, false],
  ['a secret of its own', 'grant_type=authorization_code&client_id=shared&client_secret=mine', undefined, false],
  ['an assertion', 'grant_type=authorization_code&client_id=shared&client_assertion=jwt', undefined, false],
  ['a header', 'grant_type=authorization_code&client_id=shared', 'Basic c2hhcmVkOm1pbmU=', false],
])('a request with %s gets the secret: %s', (_, form, authorization, expected) => expect(sent(form, authorization)).toBe(expected));

test('a client without a secret changes nothing', () => expect(withSecret({ form: 'grant_type=authorization_code&client_id=shared' }, { id: 'shared' })).toBe('grant_type=authorization_code&client_id=shared'));
