/** An identity provider as a login needs it, and what is said about one between the process that meets browsers and the one that asks providers. */
import { z } from 'zod';

/** Of the answer to a browser that is sent to the provider. */
export const loginBegun = z.object({ url: z.string(), nonce: z.string(), verifier: z.string() });
export type LoginBegun = z.infer<typeof loginBegun>;

/** How a browser came back, and what was kept of how it went. */
export const loginReturn = z.object({ query: z.string(), state: z.string(), nonce: z.string(), verifier: z.string() });
export type LoginReturn = z.infer<typeof loginReturn>;

/** code: the provider does not take it. nonce: the token is of another login. token: it is not good in another way. */
export const LOGIN_REFUSALS = ['code', 'nonce', 'token'] as const;
export type LoginRefusal = (typeof LOGIN_REFUSALS)[number];

export const loginResult = z.union([z.object({ claims: z.record(z.string(), z.unknown()) }), z.object({ refused: z.enum(LOGIN_REFUSALS) })]);
export type LoginResult = z.infer<typeof loginResult>;

export const loginEnd = z.object({ url: z.string().optional() });

/** All throw Fault when it cannot be asked. */
export interface IdentityProvider {
  /** @param state what the browser will bring back. */
  begin(state: string): Promise<LoginBegun>;
  /** Exchanges the code for the claims of who logged in, verified. */
  finish(back: LoginReturn): Promise<LoginResult>;
  /** Where a person ends the session at the provider itself; undefined = it says of no such place. */
  endUrl(): Promise<string | undefined>;
}
