/** The fields of an HTTP message that are for one connection alone, and go no further (RFC 9110 §7.6.1). */

/** By lower-case name, as node and undici give them. */
export type Fields = Readonly<Record<string, string | readonly string[] | undefined>>;

const OF_CONNECTION: ReadonlySet<string> = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'te', 'upgrade', 'proxy-authenticate', 'proxy-authorization']);

/** @param kept what `Connection` cannot take away: a policy wrote it. */
export function endToEnd(fields: Fields, kept?: ReadonlySet<string>): Record<string, string | readonly string[]> {
  const { connection } = fields;
  const named = connection === undefined ? undefined : new Set(listed(connection));
  const out: Record<string, string | readonly string[]> = {};
  for (const name in fields) {
    const value = fields[name];
    if (value === undefined || OF_CONNECTION.has(name) || (named?.has(name) === true && kept?.has(name) !== true)) continue;
    out[name] = value;
  }
  return out;
}

/** The members of a list field, in lower case. */
export function listed(value: string | readonly string[] | undefined): string[] {
  if (value === undefined) return [];
  const text = typeof value === 'string' ? value : value.join(',');
  return text.toLowerCase().split(',').map((one) => one.trim()).filter((one) => one !== '');
}

/** The protocol that a message asks to change to, or agrees to. */
export function upgradeOf(fields: Fields): string | undefined {
  const { upgrade } = fields;
  if (typeof upgrade !== 'string' || upgrade === '' || !listed(fields['connection']).includes('upgrade')) return undefined;
  return upgrade;
}
