/** Subjects the policy service answers: what it fetches on behalf of those who enforce. It fetches what the configuration names, and nothing else. */
import { z } from 'zod';
import { defineSubject } from './define.ts';

export const POLICY_QUEUE = 'policy';

export const policyKeys = defineSubject({
  pattern: 'parley.policy.keys',
  owner: 'policy',
  mode: 'call',
  meta: z.object({
    url: z.string().describe('of a JSON Web Key Set that the configuration names'),
    known: z.string().optional().describe('the version of the set that the asker has'),
    newer: z.literal('1').optional().describe('a token names a key that is not in it: fetch it again, unless that was done just now'),
  }),
  payload: 'empty',
  reply: 'end: JSON of KeySetReply; fault gone when the configuration does not name the URL, upstream when nothing was ever fetched from it',
});

export const keySetReply = z.object({
  version: z.string(),
  document: z.string().optional().describe('the key set as it was served; absent when the asker has it'),
});
export type KeySetReply = z.infer<typeof keySetReply>;

export const policyAuthorizationServer = defineSubject({
  pattern: 'parley.policy.issuer',
  owner: 'policy',
  mode: 'call',
  meta: z.object({
    verb: z.enum(['metadata', 'register', 'token']),
    issuer: z.string().describe('that the configuration names'),
    client: z.string().optional().describe('for verb token: the client id that the configuration names with it'),
  }),
  payload: 'for verb register the client metadata, as the client sent it; for verb token a TokenRequest as JSON, sealed with the session key; else empty',
  reply: 'end: JSON of AuthorizationServerReply; fault gone when the configuration does not name the issuer, upstream or timeout when its server cannot be used',
});

export const policyLogin = defineSubject({
  pattern: 'parley.policy.login',
  owner: 'policy',
  mode: 'call',
  meta: z.object({
    verb: z.enum(['begin', 'finish', 'end']).describe('a login: where to send the browser, what its code is worth, where the provider ends its own session'),
    client: z.string().describe('the digest of a client that the configuration names'),
  }),
  payload: 'JSON of what the verb needs (policies/logins/provider.ts), sealed with the key of cookies',
  reply: 'end: JSON of what it gives, sealed likewise; fault gone when the configuration does not name the client, upstream or timeout when its provider cannot be used',
});

/** What the authorization server answered, as it is; the text of a token is sealed with the session key. */
export const authorizationServerReply = z.object({ status: z.number().int(), text: z.string() });
export type AuthorizationServerReply = z.infer<typeof authorizationServerReply>;

/** What a client asks a token endpoint. */
export const tokenRequest = z.object({ form: z.string(), authorization: z.string().optional() });

/** What is sealed for whom: a question does not open as an answer. */
export const tokenPurpose = (what: 'question' | 'answer', { issuer, client }: { readonly issuer: string; readonly client?: string | undefined }): string => `token ${what} ${issuer} ${client ?? ''}`;
