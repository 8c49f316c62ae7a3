/** Where a CONNECT asks to be led: RFC 9110 §9.3.6 has it name a host and a port, and nothing else. */
const AUTHORITY = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_.-]{1,255})):(\d{1,5})$/i;
const PORT_MAX = 65_535;

export interface ConnectTarget {
  /** In lower case, an address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** @param authority the target of the request line as it came. */
export function connectTarget(authority: string): ConnectTarget | undefined {
  const [, address, name, digits] = AUTHORITY.exec(authority) ?? [];
  const port = Number(digits);
  const host = (address ?? name ?? '').toLowerCase();
  return host !== '' && port >= 1 && port <= PORT_MAX ? { host, port } : undefined;
}
