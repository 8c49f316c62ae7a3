/** Secrets of the configuration as they are used: a text once and for all, a file as it is now. */
import type { SecretSource } from '#protocol/config/secret-source.ts';
import { clock } from '#host/clock.ts';
import { type FileOwner, NamedFile } from '#host/named-file.ts';

const LOOK_AGAIN_MS = 1_000;

/** The text of a secret, a file's as it is now. @throws Fault */
export function secretReader(source: SecretSource, owner: FileOwner): () => string {
  if ('secret' in source) {
    const text = source.secret.reveal();
    return () => text;
  }
  const file = new NamedFile(source.file, owner);
  let [text, lookAt] = ['', 0];
  return () => {
    if (clock() < lookAt && text !== '') return text;
    const before = text;
    text = file.text().trim();
    if (text === '') throw file.unusable('is empty');
    if (text !== before) owner.learn?.(text, 'kept');
    lookAt = clock() + LOOK_AGAIN_MS;
    return text;
  };
}
