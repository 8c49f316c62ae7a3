/** Where a CONNECT asks to be led, and where a request that a dynamic backend is to serve. */
const AUTHORITY = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_.-]{1,255})):(\d{1,5})$/i;
const PORT_MAX = 65_535;

export interface ConnectTarget {
  /** In lower case, an address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** RFC 9110 §9.3.6 has it name a host and a port, and nothing else. @param authority the target of the request line as it came. */
export function connectTarget(authority: string): ConnectTarget | undefined {
  const [, address, name, digits] = AUTHORITY.exec(authority) ?? [];
  const port = Number(digits);
  const host = (address ?? name ?? '').toLowerCase();
  return host !== '' && port >= 1 && port <= PORT_MAX ? { host, port } : undefined;
}

const HAS_PORT = /:\d+$/;
const PORTS = { http: 80, https: 443 } as const;

/** `host:port` in one spelling. @param scheme whose port it is without one; undefined = there has to be one. */
export function serverOf(authority: string, scheme?: keyof typeof PORTS): string | undefined {
  const target = connectTarget(HAS_PORT.test(authority) || scheme === undefined ? authority : `${authority}:${PORTS[scheme]}`);
  if (target === undefined) return undefined;
  const host = target.host.replace(/\.$/, '');
  return `${host.includes(':') ? `[${host}]` : host}:${target.port}`;
}
