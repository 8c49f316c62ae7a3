/** What expressions may speak of that are evaluated before the body of a request is read. */
import type { CapturePath } from '../cel/captures.ts';
import type { RuleScope } from './rule-set.ts';

export const REQUEST_SCOPE: RuleScope = { variables: ['request', 'source', 'destination', 'jwt', 'apiKey', 'basicAuth', 'extauthz', 'metadata', 'env', 'proxy'], refuse };

/** Of expressions that find a credential for a server: the token that was verified is one. */
export const CREDENTIAL_SCOPE: RuleScope = { variables: REQUEST_SCOPE.variables, refuse: (path) => (isRawToken(path) ? undefined : refuse(path)) };

export const isRawToken = ([variable, field]: CapturePath): boolean => variable === 'jwt' && field === 'rawToken';

function refuse([variable, field]: CapturePath): string | undefined {
  switch (`${variable}.${field ?? ''}`) {
    case 'request.':
      return 'name the field of request that is meant';
    case 'request.body':
      return 'request.body cannot be used here: the body is read after this; for arguments of MCP tools use mcpAuthorization';
    case 'destination.hostname':
      return 'destination.hostname is not known: use request.host';
    case 'jwt.rawToken':
      return 'jwt.rawToken is for servers alone, where backendAuth looks for a token: use its claims';
    case 'apiKey.key':
      return 'apiKey.key is not kept once it was judged: use the metadata written beside the key';
    default:
      return undefined;
  }
}
