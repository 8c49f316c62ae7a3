/** Where audit events are published: one token each for what happened, on which route, to which target, so a plain `nats sub` can follow any of them. */
import { z } from 'zod';
import { defineSubject } from '../subjects/define.ts';

export const audited = defineSubject({
  pattern: 'audit.{kind}.{route}.{target}',
  owner: 'host',
  mode: 'event',
  meta: z.object({}),
  payload: 'one CloudEvents 1.0 event as JSON: event.ts',
});

/** Stands for "no route" or "no target" in a subject. */
export const NONE = '_';
