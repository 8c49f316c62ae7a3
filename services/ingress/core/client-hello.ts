/**
 * The server name in the first bytes of a TLS connection (RFC 8446 §4.1.2, RFC 6066 §3), so that a listener can be chosen
 * before the handshake begins: OpenSSL fixes versions, ciphers and resumption before it asks anybody about the name.
 *
 * H1 Nothing here judges. What is no ClientHello has no name, and the handshake it is handed to refuses it.
 * H2 Who reads this name is who decides: the handshake that follows has one certificate, so there is no second opinion.
 */

const RECORD_HEADER = 5;
const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const HELLO_HEADER = 4;
const VERSION_AND_RANDOM = 34;
const SERVER_NAME = 0;
const HOST_NAME = 0;

/** Far more than clients send, tickets and post-quantum keys included. */
export const CLIENT_HELLO_BYTES_MAX = 32 * 1024;

/** null = not all of it is there; undefined = it names no server, or is no ClientHello. */
export function serverNameIn(bytes: Buffer): string | null | undefined {
  const hello = handshakeBytes(bytes);
  if (hello === undefined) return undefined;
  const head = new Reader(hello);
  const type = head.number(1);
  const length = head.number(3);
  if (type !== undefined && type !== CLIENT_HELLO) return undefined;
  if (length === undefined || hello.length < HELLO_HEADER + length) return bytes.length < CLIENT_HELLO_BYTES_MAX ? null : undefined;
  return nameIn(new Reader(hello.subarray(HELLO_HEADER, HELLO_HEADER + length)));
}

/** The records' contents, joined, as far as they are there; undefined = no handshake. */
function handshakeBytes(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== HANDSHAKE_RECORD) return at === 0 ? undefined : Buffer.concat(parts);
    if (bytes.length < at + RECORD_HEADER) break;
    const end = at + RECORD_HEADER + bytes.readUInt16BE(at + 3);
    parts.push(bytes.subarray(at + RECORD_HEADER, end));
    at = end;
  }
  return parts.length === 1 ? parts[0] : Buffer.concat(parts);
}

function nameIn(hello: Reader): string | undefined {
  hello.take(VERSION_AND_RANDOM);
  for (const sizeOfLength of [1, 2, 1]) hello.vector(sizeOfLength); // session id, cipher suites, compression methods
  const extensions = hello.vector(2);
  while (extensions !== undefined && extensions.left > 0) {
    const type = extensions.number(2);
    const content = extensions.vector(2);
    if (content === undefined) return undefined;
    if (type === SERVER_NAME) return hostNameIn(content);
  }
  return undefined;
}

function hostNameIn(extension: Reader): string | undefined {
  const names = extension.vector(2);
  const type = names?.number(1);
  const name = names?.vector(2);
  return type !== HOST_NAME || name === undefined || name.left === 0 ? undefined : name.text();
}

/** Undefined, now and from then on, when there is less than asked for. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(length: number): Buffer | undefined {
    const from = this.#at;
    this.#at = length <= this.left ? from + length : this.#bytes.length;
    return this.#at === from + length ? this.#bytes.subarray(from, this.#at) : undefined;
  }

  number(size: number): number | undefined {
    return this.take(size)?.readUIntBE(0, size);
  }

  vector(sizeOfLength: number): Reader | undefined {
    const length = this.number(sizeOfLength);
    const content = length === undefined ? undefined : this.take(length);
    return content === undefined ? undefined : new Reader(content);
  }

  text(): string {
    return this.#bytes.toString('latin1', this.#at);
  }
}
