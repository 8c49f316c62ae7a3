/** docs/config.md, out of the schema that judges configurations. What a key means is said here; that it exists is not. */
import { z } from 'zod';
import { implemented } from '#policies/order.ts';
import { documentSchema } from '#protocol/config/document.ts';
import { NOT_ACTED_ON } from '#protocol/config/unsupported.ts';

interface Shape {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  readonly enum?: readonly string[];
  readonly required?: readonly string[];
}

interface Section {
  readonly title: string;
  /** Where in the document the section is found first. */
  readonly at: readonly string[];
  readonly intro: string;
}

const TARGETS = '[targets](#targets)';
const SERVER = '[mcp](#mcp)';
const AUTH = 'as whom we speak to its servers: [backendAuth](#backendauth)';
const PINNING = 'whether the tools of its servers may change: [policies/toolPinning](../policies/toolPinning/README.md)';
const TLS = 'how its connections are secured: [backendTLS](#backendtls)';

/** `[]` is an entry of a list, `*` one of a map. */
const SECTIONS: readonly Section[] = [
  { title: 'The document', at: [], intro: 'At least one of `mcp`, `gateways` and `binds` opens a port.' },
  { title: 'mcp', at: ['mcp'], intro: 'The short form: one MCP server at `/mcp` and `/sse`, made of all its targets. The same keys without `gateways`, `port` and `policies` describe an MCP server wherever one is written.' },
  { title: 'targets', at: ['mcp', 'targets', '[]'], intro: 'What is behind an MCP server: exactly one of `mcp` and `stdio` each.' },
  { title: 'gateways', at: ['gateways', '*'], intro: 'Ports by name; routes attach to them. A gateway writes its policies beside its own keys.' },
  { title: 'routes', at: ['routes', '[]'], intro: 'Which requests go where. The most specific host wins, then: exact path, prefix, regex; longer path; with method; more headers; more query parameters; the order of the file.' },
  { title: 'matches', at: ['routes', '[]', 'matches', '[]'], intro: 'All conditions of one match must hold; one match of the list is enough. `headers` and `query` entries have a `name`, and a `value` with `exact` or `regex`.' },
  { title: 'backends of a route', at: ['routes', '[]', 'backends', '[]'], intro: 'Exactly one of `mcp` and `backend` each.' },
  { title: 'backends', at: ['backends', '[]'], intro: 'Backends by name: exactly one of `mcp` and `host` each.' },
  { title: 'backendTLS', at: ['mcp', 'targets', '[]', 'policies', 'backendTLS'], intro: 'How connections to servers are secured: at a target, a backend, a backend of a route, or a route. What is written nearest to the target counts, whole. A target without a scheme in its `host` becomes https. Files are PEM, read where connectors run, and looked at again for each new connection.' },
  { title: 'backendAuth', at: ['mcp', 'targets', '[]', 'policies', 'backendAuth'], intro: 'As whom Parley speaks to servers: one kind, and `credentials` beside it or alone; written where [backendTLS](#backendtls) may be. A secret is a text, best a `$NAME` that only the environment of policy services and connectors has, or `file:` with a path, read where connectors run. A place is `header` (`name`, `prefix`), `queryParameter` or `cookie` (`name`); `Authorization: Bearer` unless given.' },
  { title: 'clientAuth', at: ['mcp', 'targets', '[]', 'policies', 'backendAuth', 'oauthTokenExchange', 'clientAuth'], intro: 'How the token endpoints of [backendAuth](#backendauth) know us.' },
  { title: 'binds', at: ['binds', '[]'], intro: 'The older form: ports with their listeners and routes inside.' },
  { title: 'listeners', at: ['binds', '[]', 'listeners', '[]'], intro: 'Of a bind. The listeners of a gateway have `name`, `hostname`, `protocol`, `tls` and policies. The listeners of one port all have `tls`, or none.' },
  { title: 'tls', at: ['gateways', '*', 'tls'], intro: 'HTTPS, over HTTP/1.1. The files are PEM, read by ingress from its own disk (a relative path begins where it was started), and taken up when they change: new connections get the new certificate, open ones stay. What cannot be used is logged, and the last good one stays. `parley check` looks at the files too.' },
  { title: 'config', at: ['config'], intro: 'Settings of the process. Keys that are not in the table are checked and not acted on, with a warning: LATER.' },
];

const MEANINGS: Readonly<Record<string, string>> = {
  'The document.config': 'settings of the process: [config](#config)',
  'The document.frontendPolicies.networkAuthorization': 'rules for connections, on every port: [policies/networkAuthorization](../policies/networkAuthorization/README.md)',
  'The document.binds': 'ports, in the older form: [binds](#binds)',
  'The document.gateways': 'ports by name: [gateways](#gateways)',
  'The document.routes': 'routes that attach to gateways: [routes](#routes)',
  'The document.backends': 'backends by name: [backends](#backends)',
  'The document.mcp': `the short form: ${SERVER}`,
  'mcp.gateways': 'gateways to attach to, `name` or `name/listener`; then no port of its own',
  'mcp.port': 'the port to listen on; 3000 unless given, or the gateway `default` when there is one',
  'mcp.targets': TARGETS,
  'mcp.statefulMode': '`stateless` = legacy clients get no session: each request has upstreams of its own, opened before it and closed after it',
  'mcp.prefixMode': 'whether tools and prompts carry their target (`target_tool`): `conditional` = with two targets or more',
  'mcp.failureMode': 'a target that fails: `failClosed` fails the list or the opening, `failOpen` leaves the target out',
  'mcp.dnsRebindingProtection': 'Host and Origin must be of this machine, wherever it listens',
  'mcp.policies.backendTLS': TLS,
  'mcp.policies.backendAuth': AUTH,
  'mcp.policies.toolPinning': PINNING,
  'mcp.policies.cors': 'see [policies/cors](../policies/cors/README.md)',
  'mcp.policies.apiKey': 'see [policies/apiKey](../policies/apiKey/README.md)',
  'mcp.policies.extAuthz': 'see [policies/extAuthz](../policies/extAuthz/README.md)',
  'mcp.policies.basicAuth': 'see [policies/basicAuth](../policies/basicAuth/README.md)',
  'mcp.policies.csrf': 'see [policies/csrf](../policies/csrf/README.md)',
  'mcp.policies.authorization': 'rules for requests: [policies/authorization](../policies/authorization/README.md)',
  'mcp.policies.mcpAuthorization': 'rules for tools, prompts and resources: [policies/mcpAuthorization](../policies/mcpAuthorization/README.md)',
  'mcp.policies.oidc': 'see [policies/oidc](../policies/oidc/README.md)',
  'mcp.policies.jwtAuth': 'see [policies/jwtAuth](../policies/jwtAuth/README.md)',
  'mcp.policies.mcpAuthentication': 'see [policies/mcpAuthentication](../policies/mcpAuthentication/README.md)',
  'targets.name': 'visible ASCII without `_` and `+`; in front of its tools and resources',
  'targets.policies.http.requestTimeout': 'how long this target may take to answer a list or the first look at it (default 15s, 10s)',
  'targets.policies.backendTLS': TLS,
  'targets.policies.backendAuth': AUTH,
  'targets.policies.toolPinning': PINNING,
  'targets.mcp.host': 'a server over Streamable HTTP: a URL, or a host name',
  'targets.mcp.port': 'when not in `host`',
  'targets.mcp.path': 'when not in `host`; `/mcp` unless given',
  'targets.mcp.backend': 'instead of `host`: the name of a backend with `host`',
  'targets.stdio.cmd': 'a server as a child process: the program. One process for each legacy session, one for all modern clients',
  'targets.stdio.args': 'its arguments',
  'targets.stdio.env': 'variables it gets, beside those of the connector',
  'targets.stdio.clear_env': '`true` = only those of `env`',
  'gateways.port': 'the port to listen on',
  'gateways.protocol': '`HTTP`, or `HTTPS` when there is `tls`; the others are refused',
  'gateways.tls': '[tls](#tls)',
  'gateways.listeners': 'several hosts on one port, instead of policies here: [listeners](#listeners)',
  'gateways.cors': 'before a route is chosen: [policies/cors](../policies/cors/README.md)',
  'gateways.apiKey': 'before a route is chosen: [policies/apiKey](../policies/apiKey/README.md)',
  'gateways.extAuthz': 'before a route is chosen: [policies/extAuthz](../policies/extAuthz/README.md)',
  'gateways.basicAuth': 'before a route is chosen: [policies/basicAuth](../policies/basicAuth/README.md)',
  'gateways.authorization': 'before a route is chosen: [policies/authorization](../policies/authorization/README.md)',
  'gateways.oidc': 'before a route is chosen: [policies/oidc](../policies/oidc/README.md)',
  'gateways.jwtAuth': 'before a route is chosen: [policies/jwtAuth](../policies/jwtAuth/README.md)',
  'routes.gateways': 'where it attaches, `name` or `name/listener`; the gateway `default` unless given',
  'routes.name': 'used in metrics and audit events',
  'routes.namespace': 'taken, and not used',
  'routes.ruleName': 'taken, and not used',
  'routes.hostnames': 'exact, or `*.example.com`; every host unless given',
  'routes.matches': '[matches](#matches); every request unless given',
  'routes.policies.cors': 'after the route is chosen: [policies/cors](../policies/cors/README.md)',
  'routes.policies.backendTLS': TLS,
  'routes.policies.backendAuth': AUTH,
  'routes.policies.toolPinning': PINNING,
  'routes.policies.apiKey': 'after the route is chosen: [policies/apiKey](../policies/apiKey/README.md)',
  'routes.policies.extAuthz': 'after the route is chosen: [policies/extAuthz](../policies/extAuthz/README.md)',
  'routes.policies.basicAuth': 'after the route is chosen: [policies/basicAuth](../policies/basicAuth/README.md)',
  'routes.policies.csrf': 'after the route is chosen: [policies/csrf](../policies/csrf/README.md)',
  'routes.policies.authorization': 'after the route is chosen: [policies/authorization](../policies/authorization/README.md)',
  'routes.policies.mcpAuthorization': 'at every backend of the route: [policies/mcpAuthorization](../policies/mcpAuthorization/README.md)',
  'routes.policies.oidc': 'after the route is chosen: [policies/oidc](../policies/oidc/README.md)',
  'routes.policies.jwtAuth': 'after the route is chosen: [policies/jwtAuth](../policies/jwtAuth/README.md)',
  'routes.policies.mcpAuthentication': 'after the route is chosen: [policies/mcpAuthentication](../policies/mcpAuthentication/README.md)',
  'routes.backends': '[backends of a route](#backends-of-a-route)',
  'matches.headers': 'conditions on headers; `:method`, `:authority`, `:scheme` and `:path` too',
  'matches.path.exact': 'the whole path',
  'matches.path.pathPrefix': 'whole segments: `/foo` takes `/foo/x`, not `/foobar`; `/` unless a path is given',
  'matches.path.regex': 'must span the whole path',
  'matches.method': 'exactly',
  'matches.query': 'conditions on query parameters',
  'backends of a route.weight': 'share among the backends of the route; 1 unless given, 0 = never',
  'backends of a route.policies.authorization': 'on this route, beside the rules of the backend itself: [policies/authorization](../policies/authorization/README.md)',
  'backends of a route.policies.extAuthz': 'on this route, instead of what the backend itself says: [policies/extAuthz](../policies/extAuthz/README.md)',
  'backends of a route.policies.mcpAuthorization': 'on this route, beside the rules of the backend itself: [policies/mcpAuthorization](../policies/mcpAuthorization/README.md)',
  'backends of a route.policies.backendTLS': TLS,
  'backends of a route.policies.backendAuth': AUTH,
  'backends of a route.policies.toolPinning': PINNING,
  'backends of a route.backend': 'the name of a [backend](#backends)',
  'backends of a route.mcp': `written here: ${SERVER}`,
  'backends.name': 'what routes and targets call it',
  'backends.policies.authorization': 'on every route that leads here: [policies/authorization](../policies/authorization/README.md)',
  'backends.policies.extAuthz': 'on every route that leads here, asked about what goes here: [policies/extAuthz](../policies/extAuthz/README.md)',
  'backends.policies.mcpAuthorization': 'on every route that leads here: [policies/mcpAuthorization](../policies/mcpAuthorization/README.md)',
  'backends.policies.backendTLS': TLS,
  'backends.policies.backendAuth': AUTH,
  'backends.policies.toolPinning': PINNING,
  'backends.host': 'a host, for the `backend` of a target; no route may lead to it yet',
  'backends.mcp': SERVER,
  'backendTLS.root': 'authorities whose certificates are trusted; those of the system unless given',
  'backendTLS.cert': 'our certificate, for servers that ask for one',
  'backendTLS.key': 'its private key',
  'backendTLS.hostname': 'the server name to send and to look for in the certificate; the host of the URL unless given',
  'backendTLS.insecure': '`true` = nothing is verified',
  'backendTLS.spiffe': '`{}` = certificate, key and authorities come from the SPIFFE Workload API, in place of files; the server must show an SVID of our trust domain. MCP targets only',
  'backendTLS.insecureHost': '`true` = the certificate must be of a trusted authority, for whatever name',
  'backendTLS.alpn': '`h2`, `http/1.1`, in the order they are offered',
  'backendTLS.subjectAltNames': 'the certificate must have one of these names (DNS, address or URI), instead of the hostname',
  'backendTLS.keyExchangeGroups': 'the groups that are offered',
  'backendAuth.key': 'a secret, or a `value` that is one and its `location`',
  'backendAuth.passthrough.location': 'the token of the caller, from where it was verified, goes here; sealed on its way between processes, for which `config.session.key` is needed',
  'backendAuth.jwtSign.signingKey': 'a token we sign: the private key (PEM), a secret',
  'backendAuth.jwtSign.alg': 'the algorithm; `RS256` unless given',
  'backendAuth.jwtSign.kid': 'the name of the key, in the header of the token',
  'backendAuth.jwtSign.claims': 'what every token says; `iat` and `exp` are set',
  'backendAuth.jwtSign.ttl': 'how long a token is good (default 300s)',
  'backendAuth.jwtSign.location': 'where it goes',
  'backendAuth.oauthTokenExchange.host': 'the token of the caller is exchanged for one of the server: where the token endpoint is, a URL or a host',
  'backendAuth.oauthTokenExchange.backend': 'instead of `host`: the name of a backend with `host`',
  'backendAuth.oauthTokenExchange.path': 'of the token endpoint, when not in `host`; `/` unless given',
  'backendAuth.oauthTokenExchange.policies.backendTLS': 'how connections to the token endpoint are secured: [backendTLS](#backendtls)',
  'backendAuth.oauthTokenExchange.grantType': '`tokenExchange` is RFC 8693, the one unless given; `jwtBearer` is RFC 7523',
  'backendAuth.oauthTokenExchange.subjectToken.source': 'where in the request the token of the caller stands: a place, or `expression` with one over the request',
  'backendAuth.oauthTokenExchange.subjectToken.tokenType': 'its type, a URN; an access token unless given',
  'backendAuth.oauthTokenExchange.actorToken.source': 'where the token of the one who acts for the caller stands (RFC 8693)',
  'backendAuth.oauthTokenExchange.actorToken.tokenType': 'its type, a URN; an access token unless given',
  'backendAuth.oauthTokenExchange.actorToken.enforceMayAct': '`true` = the claim `may_act` of the token of the caller has to name the actor; both are JWTs then',
  'backendAuth.oauthTokenExchange.audiences': 'the services it is wanted for',
  'backendAuth.oauthTokenExchange.scopes': 'the scopes that are wanted',
  'backendAuth.oauthTokenExchange.resources': 'the URIs it is wanted for',
  'backendAuth.oauthTokenExchange.requestedTokenType': 'the type that is wanted, a URN',
  'backendAuth.oauthTokenExchange.clientAuth': 'how the endpoint knows us: [clientAuth](#clientauth)',
  'backendAuth.oauthTokenExchange.additionalParams': 'further parameters of the request by name, each an expression over the request of the client',
  'backendAuth.oauthTokenExchange.authorizationLocation': 'where the token goes',
  'backendAuth.oauthTokenExchange.cache.maxEntries': 'tokens of how many callers are kept, each until shortly before it ends (default 8192, 0 = none)',
  'backendAuth.oauthTokenExchange.cache.defaultTtl': 'how long, when the endpoint does not say (default 300s)',
  'backendAuth.crossAppAccess.identityProvider.host': 'the identity provider of the caller gives an assertion (ID-JAG) for the server of `resourceAuthorizationServer`: its token endpoint, a URL or a host',
  'backendAuth.crossAppAccess.identityProvider.backend': 'instead of `host`: the name of a backend with `host`',
  'backendAuth.crossAppAccess.identityProvider.path': 'of the token endpoint, when not in `host`; `/` unless given',
  'backendAuth.crossAppAccess.identityProvider.policies.backendTLS': 'how connections to it are secured: [backendTLS](#backendtls)',
  'backendAuth.crossAppAccess.identityProvider.clientAuth': 'how it knows us: [clientAuth](#clientauth)',
  'backendAuth.crossAppAccess.resourceAuthorizationServer.host': 'the authorization server that gives the token for that assertion: its token endpoint, a URL or a host',
  'backendAuth.crossAppAccess.resourceAuthorizationServer.backend': 'instead of `host`: the name of a backend with `host`',
  'backendAuth.crossAppAccess.resourceAuthorizationServer.path': 'of the token endpoint, when not in `host`; `/` unless given',
  'backendAuth.crossAppAccess.resourceAuthorizationServer.policies.backendTLS': 'how connections to it are secured: [backendTLS](#backendtls)',
  'backendAuth.crossAppAccess.resourceAuthorizationServer.clientAuth': 'how it knows us: [clientAuth](#clientauth)',
  'backendAuth.crossAppAccess.audience': 'the name of the authorization server of the resource, for which the assertion is',
  'backendAuth.crossAppAccess.resources': 'the URIs the token is wanted for',
  'backendAuth.crossAppAccess.scopes': 'the scopes that are wanted of both',
  'backendAuth.crossAppAccess.accessTokenScopes': 'those that are wanted of the second, when they are others; an empty list asks for none',
  'backendAuth.crossAppAccess.subjectToken.source': 'where the token of the caller stands',
  'backendAuth.crossAppAccess.subjectToken.tokenType': 'its type, a URN; an ID token unless given',
  'backendAuth.crossAppAccess.cache.maxEntries': 'as of `oauthTokenExchange`',
  'backendAuth.crossAppAccess.cache.defaultTtl': 'as of `oauthTokenExchange`',
  'backendAuth.gcp.type': '`accessToken` unless given; an `idToken` is for one audience',
  'backendAuth.gcp.audience': 'of an ID token; `https://` and the host of the server unless given',
  'backendAuth.gcp.credential': 'a secret: JSON of a `service_account`, an `authorized_user`, an `external_account` with a file or a URL, or an `impersonated_service_account`; else what `GOOGLE_APPLICATION_CREDENTIALS`, gcloud or the metadata server have where connectors run',
  'backendAuth.aws.accessKeyId': 'requests are signed (AWS Signature Version 4): the id of the key. Without one, what Amazon’s own chain finds where connectors run: environment, shared files, web identity, container, instance',
  'backendAuth.aws.secretAccessKey': 'the key, a secret',
  'backendAuth.aws.sessionToken': 'of a key that ends, a secret',
  'backendAuth.aws.region': 'that of the server; else `AWS_REGION` or the shared files where connectors run',
  'backendAuth.aws.serviceName': 'the service to sign for, such as `execute-api` or `bedrock-agentcore`; `bedrock` unless given',
  'backendAuth.aws.assumeRole.roleArn': 'the role whose keys are had from STS, until shortly before they end',
  'backendAuth.aws.assumeRole.sessionName': 'what the session is called; a text, or `expression` with one over the request. Random unless given',
  'backendAuth.aws.assumeRole.tags': 'of the session: entries with `key`, and `value` or `expression`. Callers whose values differ have keys of their own',
  'backendAuth.azure.explicitConfig.clientSecret.tenant_id': 'a token for an application: its tenant',
  'backendAuth.azure.explicitConfig.clientSecret.client_id': 'its name',
  'backendAuth.azure.explicitConfig.clientSecret.client_secret': 'its secret',
  'backendAuth.azure.explicitConfig.managedIdentity.userAssignedIdentity.clientId': 'a token for the machine: which of its identities, by client',
  'backendAuth.azure.explicitConfig.managedIdentity.userAssignedIdentity.objectId': 'the same, by object',
  'backendAuth.azure.explicitConfig.managedIdentity.userAssignedIdentity.resourceId': 'the same, by resource',
  'backendAuth.azure.explicitConfig.workloadIdentity': 'a token for a workload of Kubernetes, by the variables that Azure sets',
  'backendAuth.azure.implicit': 'one of these, as the environment of the connector says',
  'backendAuth.azure.developerImplicit': 'a token of whoever is logged in where the connector runs (`az login`): for trying things',
  'backendAuth.credentials': 'further secrets: entries with `location` and `key`',
  'clientAuth.method': 'how the token endpoint knows us; `clientSecretBasic` unless given',
  'clientAuth.clientId': 'our name there',
  'clientAuth.clientSecret': 'our secret there',
  'clientAuth.signingKey': 'with `privateKeyJwt`: the private key (PEM), a secret',
  'clientAuth.alg': 'its algorithm; `RS256` unless given',
  'clientAuth.kid': 'its name, in the header of the assertion',
  'clientAuth.assertionAudience': 'whom the assertion is for',
  'clientAuth.certificate': 'with `privateKeyJwt`: the certificate of the key and those that lead to its authority (PEM), a text or `file:`',
  'clientAuth.certificateHeader': 'where it is shown: the chain in `x5c`, or its digest in `x5t#S256`',
  'binds.port': 'the port to listen on',
  'binds.listeners': '[listeners](#listeners)',
  'binds.tunnelProtocol': 'only `direct` is served yet',
  'binds.mode': 'only `standard` is served yet',
  'listeners.name': 'for the log and the start-up table',
  'listeners.namespace': 'taken, and not used',
  'listeners.hostname': 'exact, or `*.example.com`; every host unless given',
  'listeners.protocol': '`HTTP`, or `HTTPS` when there is `tls`; the others are refused',
  'listeners.tls': '[tls](#tls)',
  'listeners.routes': '[routes](#routes), without `gateways`',
  'listeners.policies.cors': 'before a route is chosen: [policies/cors](../policies/cors/README.md)',
  'listeners.policies.apiKey': 'before a route is chosen: [policies/apiKey](../policies/apiKey/README.md)',
  'listeners.policies.extAuthz': 'before a route is chosen: [policies/extAuthz](../policies/extAuthz/README.md)',
  'listeners.policies.basicAuth': 'before a route is chosen: [policies/basicAuth](../policies/basicAuth/README.md)',
  'tls.mode': 'only `static` is served yet',
  'tls.cert': "the server's certificate, then those that lead to its authority",
  'tls.key': 'its private key, without a passphrase',
  'tls.spiffe': '`{}` = certificate, key and authorities come from the SPIFFE Workload API, in place of files; clients must show an SVID of our trust domain',
  'tls.root': 'who signs the certificates of clients: then a client must show one. No revocation lists',
  'tls.minTLSVersion': '`TLS_V1_2` unless given',
  'tls.minTlsVersion': 'the same, spelled otherwise',
  'tls.maxTLSVersion': '`TLS_V1_3` unless given',
  'tls.maxTlsVersion': 'the same, spelled otherwise',
  'tls.cipherSuites': "the preferred first; OpenSSL's choice unless given. One at least for each version that is allowed",
  'tls.keyExchangeGroups': "the preferred first; OpenSSL's choice unless given",
  'listeners.policies.authorization': 'before a route is chosen: [policies/authorization](../policies/authorization/README.md)',
  'listeners.policies.oidc': 'before a route is chosen: [policies/oidc](../policies/oidc/README.md)',
  'listeners.policies.jwtAuth': 'before a route is chosen: [policies/jwtAuth](../policies/jwtAuth/README.md)',
  'config.mcp.sessionTtl': 'how long a legacy session may be idle (default 30m)',
  'config.session.key': '64 hex digits that ingress and connectors share: tokens of callers are sealed with it on their way. Best `$SESSION_KEY`',
  'config.customFunctions': 'functions that every expression may call, as a block of `name(a, b) { expression }` and `this.name(a, rest...) { expression }`: [expressions](../policies/cel/README.md#functions-of-the-configuration)',
  'config.sensitiveHeaders': 'headers that carry credentials, beside those everybody knows and those that policies read one from: shown to nobody, and kept at ingress',
  'config.spiffe.endpoint': 'where the SPIFFE Workload API is, for `spiffe` of listeners and targets; `SPIFFE_ENDPOINT_SOCKET` wins',
  'config.statsAddr': 'where `/metrics` and `/healthz/ready` are (default 127.0.0.1:15020); `PARLEY_STATS_ADDR` wins',
  'config.logging.level': 'of the log; `PARLEY_LOG_LEVEL` wins',
};

const schema = z.toJSONSchema(documentSchema, { unrepresentable: 'any', io: 'input' }) as Shape;
/** Described once, whoever has them. */
const DESCRIBED_APART: ReadonlySet<string> = new Set(['backendTLS', 'backendAuth', 'location', 'source', 'authorizationLocation', 'clientAuth']);
const OWN = new Set(SECTIONS.map(({ at }) => at.join('.')).filter((at) => at !== ''));

/** Keys whose section is told once, wherever they are. */
const LINKED: ReadonlySet<string> = new Set(['mcp', 'tls']);

/** Throws when a key has no meaning here, or a meaning no key. */
export function configReference(): string {
  const used = new Set<string>();
  const parts = SECTIONS.map((section) => sectionText(section, used));
  const unused = Object.keys(MEANINGS).filter((key) => !used.has(key));
  if (unused.length > 0) throw new Error(`test/arch/config-reference.ts explains keys that are gone: ${unused.join(', ')}`);
  return `${HEAD}\n${parts.join('\n')}`;
}

const HEAD = `<!-- Written by \`npm run golden\` from protocol/config. Change it there. -->
# The configuration file

YAML or JSON, in the format of agentgateway. \`parley check -f file\` says whether a file is valid, and \`parley up -f file\` takes changes
up while it runs. A key that is in no table here is an error with its line; so is a key Parley knows and does not serve yet
(**refused** below): a gateway that skips a rule is worse than one that does not start. \`$NAME\`, \`\${NAME}\` and \`\${NAME:-default}\` in a
value stand for a variable of the environment; \`$$\` is a dollar. Durations are written like \`500ms\`, \`10s\` or \`1m30s\`.
`;

function sectionText({ title, at, intro }: Section, used: Set<string>): string {
  const { rows, refused } = rowsOf(find(schema, at), title, at);
  for (const { id } of rows) used.add(id);
  const lines = rows.map(({ id, key, kind, required }) => `| \`${key}\` | ${kind}${required ? ', required' : ''} | ${MEANINGS[id]} |`);
  const missing = rows.filter(({ id }) => MEANINGS[id] === undefined);
  if (missing.length > 0) throw new Error(`test/arch/config-reference.ts does not explain ${missing.map(({ id }) => id).join(', ')}`);
  const refusals = refused.length === 0 ? '' : `\nRefused: ${refused.map((key) => `\`${key}\``).join(', ')}.\n`;
  const said = intro.replace('LATER', NOT_ACTED_ON.map((key) => `\`${key}\``).join(', '));
  return `## ${title}\n\n${said}\n\n| key | value | meaning |\n|---|---|---|\n${lines.join('\n')}\n${refusals}`;
}

interface Row {
  readonly id: string;
  readonly key: string;
  readonly kind: string;
  readonly required: boolean;
}

function rowsOf(shape: Shape, title: string, at: readonly string[], prefix = ''): { rows: Row[]; refused: string[] } {
  const rows: Row[] = [];
  const refused: string[] = [];
  for (const [name, one] of Object.entries(shape.properties ?? {})) {
    const key = `${prefix}${name}`;
    if (title === 'config' && NOT_ACTED_ON.some((later) => later === key)) continue;
    const inner = notNull(one);
    const own = DESCRIBED_APART.has(name) || OWN.has([...at, ...key.split('.')].join('.'));
    if (Object.keys(inner).length === 0 && !Object.hasOwn(implemented, name)) refused.push(key);
    else if (inner.properties !== undefined && !own && !LINKED.has(name) && hasServed(inner)) nest(inner, key);
    else if (inner.properties !== undefined && !own && (title === 'targets' || title === 'config')) nest(inner, key);
    else rows.push({ id: `${title}.${key}`, key, kind: kindOf(one), required: shape.required?.includes(name) ?? false });
  }
  return { rows, refused };

  function nest(inner: Shape, key: string): void {
    const below = rowsOf(inner, title, at, `${key}.`);
    rows.push(...below.rows);
    refused.push(...below.refused);
  }
}

const hasServed = (shape: Shape): boolean => Object.entries(shape.properties ?? {}).some(([name, one]) => Object.keys(notNull(one)).length > 0 || Object.hasOwn(implemented, name));

function find(from: Shape, at: readonly string[]): Shape {
  let shape = from;
  for (const step of at) {
    const next = step === '[]' ? shape.items : step === '*' ? (shape.additionalProperties as Shape) : shape.properties?.[step];
    if (next === undefined) throw new Error(`test/arch/config-reference.ts looks for ${at.join('.')}, which is gone`);
    shape = notNull(next);
  }
  return shape;
}

/** Nearly every key may be null, which is the same as leaving it out. */
function notNull(shape: Shape): Shape {
  const rest = shape.anyOf?.filter((one) => one.type !== 'null');
  return rest?.length === 1 ? notNull(rest[0] as Shape) : shape;
}

function kindOf(one: Shape): string {
  const shape = notNull(one);
  if (shape.enum !== undefined) return shape.enum.map((value) => `\`${value}\``).join(', ');
  if (shape.anyOf !== undefined) return [...new Set(shape.anyOf.filter(({ type }) => type !== 'null').map(kindOf))].join(' or ');
  if (shape.type === 'array') return `list of ${kindOf(shape.items ?? {})}`;
  if (shape.type === 'object' || shape.type === undefined) return shape.properties === undefined && shape.type === 'object' ? 'map' : 'section';
  const [type = ''] = [shape.type].flat().filter((name) => name !== 'null');
  return { string: 'text', integer: 'number', boolean: 'true or false' }[type] ?? type;
}
