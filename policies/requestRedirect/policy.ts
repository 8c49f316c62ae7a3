/** Sends a client elsewhere. */
import { z } from 'zod';
import { isAuthority, isHeaderValue } from '#protocol/config/header-text.ts';
import { definePolicy, deny } from '../policy.ts';
import type { CompiledPolicy, PolicyCall } from '../policy.ts';
import { type AuthorityChange, authoritySchema, changedPath, hostAndPort, isDefaultPort, pathSchema, withPort } from '../request-target.ts';

const FOUND = 302;
const STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

const schema = z.strictObject({
  scheme: z.enum(['http', 'https']).nullish(),
  authority: authoritySchema.nullish(),
  path: pathSchema.nullish(),
  status: z.int().refine((status) => STATUSES.has(status), 'expected 301, 302, 303, 307 or 308').nullish(),
});

export const requestRedirect = definePolicy({ id: 'requestRedirect', schema, compile });

const NO_PREFIX = deny(500, 'requestRedirect/prefix', 'the path of this request cannot be rewritten');
const NOWHERE = deny(400, 'requestRedirect/target', 'nobody can be sent back to the host and path of this request');

function compile({ scheme, authority, path, status }: z.output<typeof schema>): CompiledPolicy {
  return {
    apply(call) {
      const target = path == null ? call.path : changedPath(path, call.path, call.matched);
      if (target === undefined) return NO_PREFIX;
      const host = changedHost(authority ?? 'auto', scheme ?? undefined, call);
      const location = `${scheme ?? call.scheme}://${host}${target}${call.query === '' ? '' : `?${call.query}`}`;
      // A client that takes us for a proxy names a whole URL where others name a path.
      if (!isAuthority(host) || !target.startsWith('/') || !isHeaderValue(location)) return NOWHERE;
      return { kind: 'answer', status: status ?? FOUND, headers: [], head: [['location', location]] };
    },
  };
}

/** A port that the request had only because of its scheme is not one of the next. */
function changedHost(authority: AuthorityChange, scheme: string | undefined, { host, scheme: came }: PolicyCall): string {
  const [name, port] = hostAndPort(host);
  const next = scheme ?? came;
  const kept = isDefaultPort(port, came) ? '' : port;
  if (typeof authority === 'string') return withPort(name, kept, next);
  if (authority.full != null) return authority.full;
  if (authority.port != null) return withPort(name, String(authority.port), next);
  // With a scheme of its own, the host is another's, whose ports are not ours.
  return withPort(authority.host ?? name, scheme === undefined ? kept : '', next);
}
