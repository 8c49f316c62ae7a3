/** A browser as far as logins need one, without a screen: it keeps cookies, sends them back, and says that it shows pages. */
import { CookieJar } from './cookie-jar.ts';
import { type Headers, type Sent, type Told, send } from './wire.ts';

const PAGE: Headers = { accept: 'text/html,application/xhtml+xml', 'sec-fetch-mode': 'navigate' };

export class Browser {
  readonly jar: CookieJar;

  constructor(jar = new CookieJar()) {
    this.jar = jar;
  }

  /** One step of a person: what is answered, redirects not followed. */
  open(url: string | URL): Promise<Told> {
    return this.send(url, { method: 'GET', headers: PAGE });
  }

  /** What a script of a page would send. */
  async send(url: string | URL, { headers = {}, ...sent }: Sent = {}): Promise<Told> {
    const told = await send(String(url), { ...sent, headers: { cookie: this.jar.header, ...headers } });
    const set = told.headers['set-cookie'];
    this.jar.keep(set === undefined ? [] : [set].flat());
    return told;
  }
}

/** Where an answer sends a browser. @throws Error with what it said instead. */
export function locationOf(told: Pick<Told, 'status' | 'headers' | 'text'>, base?: string | URL): URL {
  const { location } = told.headers;
  if (typeof location !== 'string') throw new Error(`no redirect: ${told.status} ${told.text}`);
  return new URL(location, base);
}
