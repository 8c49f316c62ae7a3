/** A name that a certificate can be made for: a host name as DNS has them (RFC 1123 §2.1), and no address. */
const CHARS_MAX = 253;
const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const HOST_NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
/** RFC 3696 §2: where the last label is a number, the whole is an address. */
const ADDRESS = /(?:^|\.)\d+$/;

/** @param name in lower case. */
export const isHostName = (name: string): boolean => name.length <= CHARS_MAX && HOST_NAME.test(name) && !ADDRESS.test(name);
