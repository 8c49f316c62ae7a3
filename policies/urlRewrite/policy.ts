/** Changes the path and the host of a request, for the policies after it and for whoever is asked in the end. */
import { z } from 'zod';
import { isAuthority } from '#protocol/config/header-text.ts';
import { definePolicy, deny, pass } from '../policy.ts';
import type { CompiledPolicy, PolicyCall } from '../policy.ts';
import type { RequestEdit } from '../request-edits.ts';
import { type AuthorityChange, authoritySchema, changedPath, hostAndPort, pathSchema, withPort } from '../request-target.ts';

const schema = z.strictObject({ authority: authoritySchema.nullish(), path: pathSchema.nullish() });

export const urlRewrite = definePolicy({ id: 'urlRewrite', schema, compile });

const NO_PREFIX = deny(500, 'urlRewrite/prefix', 'the path of this request cannot be rewritten');
const NO_HOST = deny(400, 'urlRewrite/host', 'the host of this request is none');

function compile({ authority, path }: z.output<typeof schema>): CompiledPolicy {
  return {
    apply(call) {
      const edits: RequestEdit[] = [];
      if (path != null) {
        const rewritten = changedPath(path, call.path, call.matched);
        if (rewritten === undefined) return NO_PREFIX;
        edits.push({ kind: 'setPath', path: rewritten });
      }
      const host = authority == null || authority === 'auto' ? undefined : changedHost(authority, call);
      if (host !== undefined && !isAuthority(host)) return NO_HOST;
      if (host !== undefined) edits.push({ kind: 'setAuthority', authority: host });
      return edits.length === 0 ? pass : { kind: 'rewrite', responseHeaders: [], requestEdits: edits };
    },
  };
}

/** `none` is written, too: the host that came, and not the backend's own. */
function changedHost(authority: Exclude<AuthorityChange, 'auto'>, { host, scheme }: PolicyCall): string {
  if (authority === 'none') return host;
  if (authority.full != null) return authority.full;
  return authority.host ?? withPort(hostAndPort(host)[0], String(authority.port), scheme);
}
