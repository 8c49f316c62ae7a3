/** The cookies of a browser, as far as logins need them. */

/** Of one host. A cookie is replaced in its place; one whose time is over is gone. */
export class CookieJar {
  readonly cookies = new Map<string, string>();
  /** As they came, newest last. */
  readonly set: string[] = [];

  keep(headers: readonly string[]): void {
    for (const header of headers) {
      this.set.push(header);
      const [pair = ''] = header.split(';');
      const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      if (/; Max-Age=0(;|$)/i.test(header)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }

  /** Of a request; undefined = there is none. */
  get header(): string | undefined {
    return this.cookies.size === 0 ? undefined : [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  copy(): CookieJar {
    const jar = new CookieJar();
    for (const [name, value] of this.cookies) jar.cookies.set(name, value);
    return jar;
  }
}
