/** A request on its way out, and how a credential gets into it. */
import type { CredentialLocation } from '#protocol/config/credential-location.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Outgoing } from '#host/callouts/wire.ts';

export type { Outgoing };

/** What a header can carry (RFC 9110 §5.5). */
const FIELD_VALUE = /^[\x20-\x7e\x80-\xff]*$/;

export const isFieldValue = (text: string): boolean => FIELD_VALUE.test(text);

/** @throws Fault `upstream` for a value that is no header's. */
export function place(value: string, location: CredentialLocation, outgoing: Outgoing): void {
  const { headers } = outgoing;
  switch (location.in) {
    case 'header':
      if (!isFieldValue(value)) throw new Fault('upstream', `the credential for ${location.name} has characters that no header can carry`);
      headers[location.name] = location.prefix + value;
      return;
    case 'query':
      outgoing.path = withParameter(outgoing.path, location.name, value);
      return;
    case 'cookie':
      headers['cookie'] = withCookie(headers['cookie'] ?? '', location.name, value);
  }
}

/** Of two with one name the server may take the other, which is not ours. */
function withParameter(path: string, name: string, value: string): string {
  const at = path.indexOf('?');
  const others = at < 0 ? [] : path.slice(at + 1).split('&').filter((pair) => pair !== '' && new URLSearchParams(pair).keys().next().value !== name);
  return `${at < 0 ? path : path.slice(0, at)}?${[...others, `${encodeURIComponent(name)}=${encodeURIComponent(value)}`].join('&')}`;
}

function withCookie(before: string, name: string, value: string): string {
  const others = before.split(';').map((pair) => pair.trim()).filter((pair) => pair !== '' && pair.split('=', 1)[0]?.trim() !== name);
  return [...others, `${name}=${encodeURIComponent(value)}`].join('; ');
}
