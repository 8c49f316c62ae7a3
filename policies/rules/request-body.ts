/** The beginning of a request's body, for policies that look into it: it stays there for whoever reads it next. */
import { Fault } from '#protocol/faults/fault.ts';
import { type BodyPrefix, type Judging, type PolicyCall, type Verdict, deny } from '../policy.ts';

/** Of a body that expressions ask for. */
export const READ_BYTES_MAX = 2 * 1024 * 1024;

export interface Reading {
  /** The policy that reads. */
  readonly id: string;
  readonly max: number;
}

/** A body that breaks off is its client's doing. */
export async function prefixOf(call: PolicyCall, { id, max }: Reading, go: (read: BodyPrefix) => Judging): Promise<Verdict> {
  let read: BodyPrefix;
  try {
    read = (await call.prefix?.(max)) ?? { bytes: new Uint8Array(), complete: true };
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'invalid') throw error;
    return deny(Number(error.facts['status'] ?? 400), `${id}/body`, error.message);
  }
  return go(read);
}

/** Expressions see all of it or nothing. */
export const wholeOf = (read: BodyPrefix | undefined): Uint8Array | undefined => (read?.complete === true ? read.bytes : undefined);
