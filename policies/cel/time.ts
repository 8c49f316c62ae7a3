/** Moments and spans, which to the library are messages. */
import { isReflectMessage } from '@bufbuild/protobuf/reflect';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';

export const timestampIn = (value: unknown): Timestamp | undefined => (isReflectMessage(value, TimestampSchema) ? (value.message as Timestamp) : undefined);

export const durationIn = (value: unknown): Duration | undefined => (isReflectMessage(value, DurationSchema) ? (value.message as Duration) : undefined);
