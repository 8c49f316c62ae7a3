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
    verb: z.enum(['metadata', 'register']),
    issuer: z.string().describe('that the configuration names'),
  }),
  payload: 'for verb register the client metadata, as the client sent it; else empty',
  reply: 'end: JSON of AuthorizationServerReply; fault gone when the configuration does not name the issuer, upstream or timeout when its server cannot be used',
});

/** What the authorization server answered, as it is. */
export const authorizationServerReply = z.object({ status: z.number().int(), text: z.string() });
export type AuthorizationServerReply = z.infer<typeof authorizationServerReply>;
