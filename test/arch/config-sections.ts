/** The sections of docs/config.md, in the order in which it tells them. */

export interface Section {
  readonly title: string;
  /** Where in the document the section is found first. */
  readonly at: readonly string[];
  readonly intro: string;
}

const EXCHANGE = ['mcp', 'targets', '[]', 'policies', 'backendAuth', 'oauthTokenExchange'] as const;

/** `[]` is an entry of a list, `*` one of a map. */
export const SECTIONS: readonly Section[] = [
  { title: 'The document', at: [], intro: 'At least one of `mcp`, `gateways` and `binds` opens a port.' },
  { title: 'mcp', at: ['mcp'], intro: 'The short form: one MCP server at `/mcp` and `/sse`, made of all its targets. The same keys without `gateways`, `port` and `policies` describe an MCP server wherever one is written.' },
  { title: 'targets', at: ['mcp', 'targets', '[]'], intro: 'What is behind an MCP server: exactly one of `mcp` and `stdio` each.' },
  { title: 'gateways', at: ['gateways', '*'], intro: 'Ports by name; routes attach to them. A gateway writes its policies beside its own keys.' },
  { title: 'routes', at: ['routes', '[]'], intro: 'Which requests go where. The most specific host wins, then: exact path, prefix, regex; longer path; with method; more headers; more query parameters; the order of the file.' },
  { title: 'matches', at: ['routes', '[]', 'matches', '[]'], intro: 'All conditions of one match must hold; one match of the list is enough. `headers` and `query` entries have a `name`, and a `value` with `exact` or `regex`.' },
  { title: 'backends of a route', at: ['routes', '[]', 'backends', '[]'], intro: 'Exactly one of `mcp`, `host`, `service`, `dynamic` and `backend` each. A route leads to MCP servers or to hosts, not to both.' },
  { title: 'backends', at: ['backends', '[]'], intro: 'Backends by name: exactly one of `mcp` and `host` each.' },
  { title: 'http', at: ['mcp', 'targets', '[]', 'policies', 'http'], intro: 'How long a server may take: at a target, a backend, or a backend of a route; what is written nearest to the server counts.' },
  { title: 'tcp', at: ['mcp', 'targets', '[]', 'policies', 'tcp'], intro: 'How a server is connected to, written where [http](#http) may be.' },
  { title: 'backendTLS', at: ['mcp', 'targets', '[]', 'policies', 'backendTLS'], intro: 'How connections to servers are secured: at a target, a backend, a backend of a route, or a route. What is written nearest to the target counts, whole. A target without a scheme in its `host` becomes https. Files are PEM, read where connectors run, and looked at again for each new connection.' },
  { title: 'backendAuth', at: ['mcp', 'targets', '[]', 'policies', 'backendAuth'], intro: 'As whom Parley speaks to servers: one kind, and `credentials` beside it or alone; written where [backendTLS](#backendtls) may be. A secret is a text, best a `$NAME` that only the environment of policy services and connectors has, or `file:` with a path, read where connectors run. A place is `header` (`name`, `prefix`), `queryParameter` or `cookie` (`name`); `Authorization: Bearer` unless given.' },
  { title: 'clientAuth', at: [...EXCHANGE, 'clientAuth'], intro: 'How the token endpoints of [backendAuth](#backendauth) know us.' },
  { title: 'callouts', at: [...EXCHANGE, 'policies'], intro: 'How a server is reached that Parley asks on its own behalf: the token endpoints of [backendAuth](#backendauth), and those of [extAuthz](../policies/extAuthz/README.md). What the `backend` it names has of these counts where it says nothing itself. In `backendAuth` a callout has `key`, `credentials`, `jwtSign`, `gcp`, `aws` and `azure`, as Parley speaks for nobody there.' },
  { title: 'backendTunnel', at: [...EXCHANGE, 'policies', 'backendTunnel'], intro: 'An HTTP proxy that connects us to a server (CONNECT): exactly one of `host`, `backend` and `service` says where it is.' },
  { title: 'services', at: ['services', '[]'], intro: 'Groups of servers under one name, as a mesh has them: the workloads that name the service, each at its first address (else its `hostname`) and its port for that of the service. Of two that are drawn the one is asked that would answer sooner; one that cannot be reached is passed over for another. What a mesh makes of the other keys, Parley does not: they are understood, with a warning, or refused.' },
  { title: 'workloads', at: ['workloads', '[]'], intro: 'The servers of [services](#services).' },
  { title: 'binds', at: ['binds', '[]'], intro: 'The older form: ports with their listeners and routes inside.' },
  { title: 'listeners', at: ['binds', '[]', 'listeners', '[]'], intro: 'Of a bind. The listeners of a gateway have `name`, `hostname`, `protocol`, `tls` and policies. The listeners of one port all have `tls`, or none.' },
  { title: 'tls', at: ['gateways', '*', 'tls'], intro: 'HTTPS, over HTTP/1.1. The files are PEM, read by ingress from its own disk (a relative path begins where it was started), and taken up when they change: new connections get the new certificate, open ones stay. What cannot be used is logged, and the last good one stays. `parley check` looks at the files too.' },
  { title: 'config', at: ['config'], intro: 'Settings of the process. Keys that are not in the table are checked and not acted on, with a warning: LATER.' },
];
