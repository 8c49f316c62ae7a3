/** Signature Version 4, made by Amazon's own code, which is loaded when the first request is signed. */
import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import type { SignatureV4 } from '@smithy/signature-v4';
import type { AwsKeys } from '#protocol/config/aws-signing.ts';
import { plainKeys } from './aws-sources.ts';

/** What is signed. */
export type AwsRequest = Parameters<SignatureV4['sign']>[0] & { method: string };

export async function awsSigner(keys: AwsKeys, { service, region }: { readonly service: string; readonly region: string }): Promise<SignatureV4> {
  const { SignatureV4 } = await import('@smithy/signature-v4');
  return new SignatureV4({ service, region, credentials: plainKeys(keys), sha256: Sha256, applyChecksum: false });
}

/** As the signer wants it. */
class Sha256 {
  readonly #key: Uint8Array | undefined;
  #hash: Hash | Hmac;

  constructor(key?: string | ArrayBuffer | ArrayBufferView) {
    this.#key = key === undefined ? undefined : bytesOf(key);
    this.#hash = this.#fresh();
  }

  update(chunk: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytesOf(chunk));
  }

  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.#hash.digest());
  }

  reset(): void {
    this.#hash = this.#fresh();
  }

  #fresh(): Hash | Hmac {
    return this.#key === undefined ? createHash('sha256') : createHmac('sha256', this.#key);
  }
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data);
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}
