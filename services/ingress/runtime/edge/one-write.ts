/**
 * node joins headers and a string into one write, headers and a buffer into a gathered one, which costs a tenth of a
 * request more. Latin-1 maps bytes to characters and back one to one, so any bytes survive.
 */
export const ONE_WRITE_BYTES_MAX = 64 * 1024;
export const asLatin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
