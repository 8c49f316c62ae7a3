/** The headers of a request as node gives them, and what it leaves out of them. */
import type { IncomingMessage } from 'node:http';
import { LOGIN_COOKIES, withoutLoginCookies } from '#policies/logins/cookies.ts';

const CREDENTIALS: readonly string[] = ['authorization', 'proxy-authorization'];

/** Of two Authorization headers node keeps the first and says nothing; a proxy before us may have meant the other. Here they are a list. */
export function withEveryCredential({ headers, rawHeaders }: IncomingMessage): Readonly<Record<string, string | readonly string[] | undefined>> {
  let more: Record<string, string[]> | undefined;
  for (const name of CREDENTIALS) {
    if (headers[name] === undefined) continue;
    const values = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
    if (values.length > 1) more = { ...more, [name]: values };
  }
  return more === undefined ? headers : { ...headers, ...more };
}

/** The cookies of logins are between the browser and us. @returns the Cookie header as it came, if it had any. */
export function takeLogins({ headers }: IncomingMessage): string | undefined {
  const { cookie } = headers;
  if (cookie?.includes(LOGIN_COOKIES) !== true) return undefined;
  const rest = withoutLoginCookies(cookie);
  if (rest === undefined) delete headers.cookie;
  else headers.cookie = rest;
  return cookie;
}
