/** The access log may be asked for in three places: `frontendPolicies.accessLog`, its old name there, and `config.logging`, which is older. */
import type { Compiling } from './compiling.ts';
import type { GatewayDocument } from './document.ts';
import type { PolicyDocuments } from './generation.ts';

const KEY = 'accessLog';
const OLD_KEY = 'logging';

/** Frontend policies, with the access log under its own name wherever it was written. */
export function withAccessLog(document: GatewayDocument, compiling: Compiling): PolicyDocuments {
  const { [OLD_KEY]: old, ...policies } = compiling.policies(document.frontendPolicies, ['frontendPolicies']);
  const { filter, fields } = compiling.policies({ filter: document.config?.logging?.filter, fields: document.config?.logging?.fields }, ['config', 'logging']);
  const oldest = filter === undefined && fields === undefined ? undefined : { filter, ...(fields as object | undefined) };
  if (old !== undefined && policies[KEY] !== undefined) compiling.error(['frontendPolicies', OLD_KEY], 'the old name of accessLog, which is there too', 'write one of them');
  else if (oldest !== undefined && (old ?? policies[KEY]) !== undefined) compiling.error(['config', 'logging'], 'filter and fields are the old form of frontendPolicies.accessLog, which is there too', 'write them there');
  const written = policies[KEY] ?? old ?? oldest;
  return written === undefined ? policies : { ...policies, [KEY]: written };
}
