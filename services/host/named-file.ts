/** A file the configuration names for a target, read again once it has changed. Small, and on the way of no call that has what it needs. */
import { statSync } from 'node:fs';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { Learn } from './telemetry/secrets.ts';
import { secretsIn } from './telemetry/secrets-in-files.ts';
import { readConfigFile } from './files.ts';

/** Whose file it is, for messages: `backendTLS.root`. */
export interface FileOwner {
  readonly target: string;
  readonly key: string;
  /** Told of what is in it, where that is a secret. */
  readonly learn?: Learn | undefined;
}

export class NamedFile {
  readonly path: string;
  readonly #owner: FileOwner;
  #read: { readonly version: string; readonly text: string } | undefined;

  constructor(path: string, owner: FileOwner) {
    this.path = path;
    this.#owner = owner;
  }

  /** Its text as it is now. @throws Fault `upstream` that names target, key and file. */
  text(): string {
    const version = this.#version();
    if (this.#read?.version !== version || version === '') this.#read = { version, text: this.#readNow() };
    return this.#read.text;
  }

  /** What is in it is of no use. */
  unusable(why: string): Fault {
    return this.#fault(`the file ${this.path} ${why}`);
  }

  #readNow(): string {
    try {
      const text = readConfigFile(this.path);
      for (const secret of secretsIn(text)) this.#owner.learn?.(secret, 'kept');
      return text;
    } catch (error) {
      throw this.#fault(asFault(error).message);
    }
  }

  #version(): string {
    const stat = statSync(this.path, { throwIfNoEntry: false, bigint: true });
    return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeNs}`;
  }

  #fault(message: string): Fault {
    const { target, key } = this.#owner;
    return new Fault('upstream', `${target}: ${key}: ${message}`, { target, reason: 'file' });
  }
}
