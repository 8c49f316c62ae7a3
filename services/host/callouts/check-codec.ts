/** Envoy's `Check` (protocol/envoy) as bytes, and back. */
import { fileURLToPath } from 'node:url';
import { type MethodDefinition, load } from '@grpc/proto-loader';
import type { CheckRequest, CheckResponse } from '#policies/authorizer/check.ts';
import { Fault } from '#protocol/faults/fault.ts';

const PROTO = fileURLToPath(new URL('../../../protocol/envoy/external_auth.proto', import.meta.url));
const SERVICE = 'envoy.service.auth.v3.Authorization';

export interface CheckCodec {
  encode(request: CheckRequest): Uint8Array;
  /** @throws Fault `upstream` for what is no answer. */
  decode(bytes: Uint8Array): CheckResponse;
}

let loading: Promise<CheckCodec> | undefined;

export const checkCodec = (): Promise<CheckCodec> =>
  (loading ??= load(PROTO, { keepCase: true, longs: Number, enums: Number, defaults: true, oneofs: true }).then((definitions) => {
    const { Check } = definitions[SERVICE] as unknown as { readonly Check: MethodDefinition<CheckRequest, CheckResponse> };
    return {
      encode: (request) => Check.requestSerialize(request),
      decode(bytes) {
        try {
          return Check.responseDeserialize(Buffer.from(bytes));
        } catch {
          throw new Fault('upstream', 'the authorizer answered with what is no CheckResponse', { reason: 'unreadable' });
        }
      },
    };
  }));
