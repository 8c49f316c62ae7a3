/** The tokens of a request that servers are to be shown, and whether they are for servers at all. */
import type { Facts, PolicyCall } from '#policies/policy.ts';
import { type CredentialLocation, locationText } from '#protocol/config/credential-location.ts';

/**
 * A token that was verified, or that nobody here asked for, is the caller's to show. A credential that was for this gateway
 * (a key, a password) goes no further.
 */
export const mayBeShown = ({ principal, jwt, apiKey, basicAuth }: Facts): boolean =>
  apiKey === undefined && basicAuth === undefined && (jwt !== undefined || principal === undefined);

/** What a policy wrote into a header is meant for servers, whatever the caller had to show here. */
export function tokensToShow(places: readonly CredentialLocation[], call: Pick<PolicyCall, 'headers' | 'query'> & { readonly written: ReadonlySet<string> }, facts: Facts): Record<string, string> | undefined {
  return tokensAt(mayBeShown(facts) ? places : places.filter((place) => place.in === 'header' && call.written.has(place.name)), call);
}

/** By place, as far as they are there; undefined when none is. */
export function tokensAt(places: readonly CredentialLocation[], call: Pick<PolicyCall, 'headers' | 'query'>): Record<string, string> | undefined {
  let found: Record<string, string> | undefined;
  for (const place of places) {
    const token = tokenAt(place, call);
    if (token !== undefined && token !== '') (found ??= {})[locationText(place)] = token;
  }
  return found;
}

function tokenAt(place: CredentialLocation, { headers, query }: Pick<PolicyCall, 'headers' | 'query'>): string | undefined {
  switch (place.in) {
    case 'header': {
      const value = headers[place.name];
      // The name of a scheme is the same in any case (RFC 9110 §11.1).
      const fits = typeof value === 'string' && value.slice(0, place.prefix.length).toLowerCase() === place.prefix.toLowerCase();
      return fits ? value.slice(place.prefix.length).trim() : undefined;
    }
    case 'query':
      return new URLSearchParams(query).get(place.name) ?? undefined;
    case 'cookie': {
      const cookie = headers['cookie'];
      return typeof cookie === 'string' ? cookieOf(cookie, place.name) : undefined;
    }
  }
}

function cookieOf(text: string, name: string): string | undefined {
  for (const pair of text.split(';')) {
    const at = pair.indexOf('=');
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}
