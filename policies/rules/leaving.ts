/** What of a request may be told to other processes and servers by an expression: not what lets its caller in. */
import type { CapturePath } from '../cel/captures.ts';
import { isSecretHeader } from '../cel/secrets.ts';

const REQUEST_FIELDS: readonly string[] = ['method', 'host', 'path', 'scheme', 'version'];

/** Why this may not leave ingress; undefined = it may. */
export function whyItStays([variable, field, name]: CapturePath): string | undefined {
  switch (variable) {
    case 'request':
      return ofRequest(field, name);
    case 'source':
      return ofSource(field, name);
    case 'jwt':
      return field === 'rawToken' ? 'jwt.rawToken is a credential and does not leave ingress: use its claims' : undefined;
    case 'apiKey':
      return field === 'key' ? 'apiKey.key is a credential and does not leave ingress: use the metadata written beside the key' : undefined;
    default:
      return undefined;
  }
}

function ofSource(field: string | undefined, name: string | undefined): string | undefined {
  if (field === undefined) return 'name the field of source that is meant: all of it, credentials of a tunnel included, does not leave ingress';
  return field === 'connectHeaders' ? ofHeaders('source.connectHeaders', name) : undefined;
}

function ofHeaders(of: string, name: string | undefined): string | undefined {
  if (name === undefined) return `name the header that is meant, as in ${of}["x-tenant"]: all of them, credentials included, do not leave ingress`;
  return isSecretHeader(name) ? `the header ${name} carries credentials and does not leave ingress: use jwt, apiKey or basicAuth` : undefined;
}

function ofRequest(field: string | undefined, name: string | undefined): string | undefined {
  if (field === undefined) return `name the field of request that is meant: ${REQUEST_FIELDS.join(', ')}, or headers["x"]`;
  if (field === 'body') return 'request.body does not reach these rules: a call\'s arguments are mcp.tool.arguments';
  if (field === 'headers') return ofHeaders('request.headers', name);
  return REQUEST_FIELDS.includes(field) ? undefined : `request.${field} does not reach these rules (a query may carry credentials): use ${REQUEST_FIELDS.join(', ')} or headers["x"]`;
}
