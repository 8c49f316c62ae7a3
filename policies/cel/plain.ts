/** From CEL values back to JavaScript's. Secrets become `<redacted>` on the way, unless the caller says that they are used. */
import { isCelList, isCelMap, isCelType, isCelUint } from '@bufbuild/cel';
import type { CelValue } from '@bufbuild/cel';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { boundedText, spend, stepsForText } from './bounds.ts';
import { opaqueIn } from './opaque.ts';
import { REDACTED } from './secrets.ts';
import { durationIn, timestampIn } from './time.ts';

/** A span of time, as `duration("1.5s")` makes one. */
export class PlainDuration {
  readonly durationMs: number;

  constructor(durationMs: number) {
    this.durationMs = durationMs;
  }
}

type Scalar = null | boolean | number | bigint | string | Uint8Array | Date | PlainDuration;
export type PlainValue = Scalar | readonly PlainValue[] | { readonly [key: string]: PlainValue };

/** What is put for a secret: `redact`, or `reveal` where the value is used and not shown. */
type Secrets = 'redact' | 'reveal';

/** An int is a number while that is exact, else a bigint; a duration is a `PlainDuration`; map keys become texts. */
export function plain(value: CelValue, secrets: Secrets = 'redact'): PlainValue {
  spend(1);
  if (typeof value === 'bigint') return exact(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (isCelList(value)) return Array.from(value, (item) => plain(item, secrets));
  if (isCelMap(value)) return Object.fromEntries(Array.from(value, ([key, item]) => [String(isCelUint(key) ? key.value : key), plain(item, secrets)]));
  if (isCelUint(value)) return exact(value.value);
  if (isCelType(value)) return value.name;
  return plainMessage(value, secrets);
}

const exact = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

function plainMessage(value: Extract<CelValue, object>, secrets: Secrets): PlainValue {
  const moment = timestampIn(value);
  if (moment !== undefined) return timestampDate(moment);
  const span = durationIn(value);
  if (span !== undefined) return new PlainDuration(Number(span.seconds) * 1000 + span.nanos / 1e6);
  const content = opaqueIn(value);
  if (content?.kind === 'ip') return content.address.toString();
  if (content?.kind === 'cidr') return `${content.address.toString()}/${content.bits}`;
  return content?.kind === 'secret' && secrets === 'reveal' ? plain(content.value, secrets) : REDACTED;
}

/** The JSON of a value: bytes as base64, timestamps as RFC 3339, durations as `1.5s`, ints no double can hold as text. */
export function jsonText(value: CelValue): string {
  const text = JSON.stringify(plain(value), function asJson(this: Record<string, unknown>, key: string, item: unknown) {
    const written = this[key]; // `item` of a Buffer is what its toJSON made of it
    if (typeof written === 'bigint') return String(written);
    if (written instanceof Uint8Array) return Buffer.from(written).toString('base64');
    return written instanceof PlainDuration ? `${written.durationMs / 1000}s` : item;
  });
  boundedText(text.length);
  spend(stepsForText(text.length));
  return text;
}
