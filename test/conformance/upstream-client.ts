/**
 * What the suite runs as "the client" where an MCP server wants a token of its authorization server: Parley in front of that
 * server, with `oauthTokenExchange`, and an MCP client that shows Parley the token it has. Where tokens are issued is looked up
 * here, as an operator would.
 */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { z } from 'zod';
import { startParley } from '../world/parley.ts';

const CONTEXT = z.object({ client_id: z.string(), valid_jwt: z.string() });
const RESOURCE = z.object({ authorization_servers: z.tuple([z.url()], z.url()) });
const SERVER = z.object({ token_endpoint: z.url() });

const json = async (url: URL | string): Promise<unknown> => (await fetch(url)).json();

const target = process.argv.at(-1) ?? '';
const { client_id: clientId, valid_jwt: token } = CONTEXT.parse(JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}'));
const { authorization_servers: [issuer] } = RESOURCE.parse(await json(new URL(`/.well-known/oauth-protected-resource${new URL(target).pathname}`, target)));
const endpoint = new URL(SERVER.parse(await json(new URL('/.well-known/oauth-authorization-server', issuer))).token_endpoint);
const oauthTokenExchange = { host: endpoint.origin, path: endpoint.pathname, grantType: 'jwtBearer', clientAuth: { method: 'clientSecretPost', clientId } };
const parley = await startParley({ config: { mcp: { targets: [{ name: 'upstream', mcp: { host: target }, policies: { backendAuth: { oauthTokenExchange } } }] } } });
try {
  const client = new Client({ name: 'behind-parley', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new StreamableHTTPClientTransport(new URL(parley.url), { requestInit: { headers: { authorization: `Bearer ${token}` } } }));
  await client.listTools();
  await client.callTool({ name: 'test-tool', arguments: {} });
  await client.close();
} finally {
  await parley.stop();
}
