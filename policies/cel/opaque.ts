/**
 * Values CEL has no type for: addresses, networks, secrets. To the library each is an empty message: no field can be read,
 * and no function takes it but those that ask here.
 */
import { create } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import type { ReflectMessage } from '@bufbuild/protobuf/reflect';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import type { CelValue } from '@bufbuild/cel';
import type ipaddr from 'ipaddr.js';

export type Address = ipaddr.IPv4 | ipaddr.IPv6;

export type Opaque =
  /** `value` is used in tests and shown nowhere. */
  | { readonly kind: 'secret'; readonly value: CelValue }
  | { readonly kind: 'ip'; readonly address: Address }
  | { readonly kind: 'cidr'; readonly address: Address; readonly bits: number };

const contents = new WeakMap<object, Opaque>();

export function opaque(content: Opaque): ReflectMessage {
  const carrier = reflect(EmptySchema, create(EmptySchema));
  contents.set(carrier, content);
  return carrier;
}

export const opaqueIn = (value: unknown): Opaque | undefined => (typeof value === 'object' && value !== null ? contents.get(value) : undefined);
