/** A request on its way out, and how a credential gets into it. */
import type { CredentialLocation } from '#protocol/config/credential-location.ts';
import { Fault } from '#protocol/faults/fault.ts';

export interface Outgoing {
  readonly method: string;
  readonly body: Uint8Array | undefined;
  path: string;
  readonly headers: Record<string, string>;
}

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
      outgoing.path += `${outgoing.path.includes('?') ? '&' : '?'}${encodeURIComponent(location.name)}=${encodeURIComponent(value)}`;
      return;
    case 'cookie': {
      const cookie = `${location.name}=${encodeURIComponent(value)}`;
      headers['cookie'] = headers['cookie'] === undefined ? cookie : `${headers['cookie']}; ${cookie}`;
    }
  }
}
