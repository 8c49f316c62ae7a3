/**
 * What the suite runs as "the client" where an MCP server wants a token of its authorization server: Parley in front of that
 * server, with `oauthTokenExchange` or `crossAppAccess`, and an MCP client that shows Parley the token it has. Where tokens are issued is looked up
 * here, as an operator would.
 */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { z } from 'zod';
import { startParley } from '../world/parley.ts';

const COMPANY = z.object({ client_id: z.string(), client_secret: z.string(), idp_client_id: z.string(), idp_id_token: z.string(), idp_token_endpoint: z.url() });
const WORKLOAD = z.object({ client_id: z.string(), valid_jwt: z.string() });
const RESOURCE = z.object({ authorization_servers: z.tuple([z.url()], z.url()) });
const SERVER = z.object({ issuer: z.string(), token_endpoint: z.url() });

const json = async (url: URL | string): Promise<unknown> => (await fetch(url)).json();
const placeOf = (endpoint: string): { readonly host: string; readonly path: string } => ({ host: new URL(endpoint).origin, path: new URL(endpoint).pathname });

const target = process.argv.at(-1) ?? '';
const context = z.union([COMPANY, WORKLOAD]).parse(JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}'));
const { authorization_servers: [issuer] } = RESOURCE.parse(await json(new URL(`/.well-known/oauth-protected-resource${new URL(target).pathname}`, target)));
const server = SERVER.parse(await json(new URL('/.well-known/oauth-authorization-server', issuer)));
const { token, backendAuth } = 'valid_jwt' in context ? ofWorkload(context) : ofCompany(context);
const parley = await startParley({ config: { mcp: { targets: [{ name: 'upstream', mcp: { host: target }, policies: { backendAuth } }] } } });
try {
  const client = new Client({ name: 'behind-parley', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new StreamableHTTPClientTransport(new URL(parley.url), { requestInit: { headers: { authorization: `Bearer ${token}` } } }));
  await client.listTools();
  await client.callTool({ name: 'test-tool', arguments: {} });
  await client.close();
} finally {
  await parley.stop();
}

interface Showing {
  /** Which the client shows Parley. */
  readonly token: string;
  readonly backendAuth: object;
}

/** RFC 7523 */
function ofWorkload({ client_id: clientId, valid_jwt: token }: z.output<typeof WORKLOAD>): Showing {
  return { token, backendAuth: { oauthTokenExchange: { ...placeOf(server.token_endpoint), grantType: 'jwtBearer', clientAuth: { method: 'clientSecretPost', clientId } } } };
}

/** ID-JAG: the company the person logged in at vouches for them at the server's. */
function ofCompany({ client_id: clientId, client_secret: clientSecret, idp_client_id: idpClient, idp_id_token: token, idp_token_endpoint: idp }: z.output<typeof COMPANY>): Showing {
  const crossAppAccess = {
    identityProvider: { ...placeOf(idp), clientAuth: { method: 'clientSecretPost', clientId: idpClient } },
    resourceAuthorizationServer: { ...placeOf(server.token_endpoint), clientAuth: { method: 'clientSecretBasic', clientId, clientSecret } },
    audience: server.issuer,
    resources: [target],
  };
  return { token, backendAuth: { crossAppAccess } };
}
