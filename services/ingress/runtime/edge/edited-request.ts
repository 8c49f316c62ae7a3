/** A request as policies changed it. What they did not change is asked of the one that came. */
import type { BodyPrefix, Source } from '#policies/policy.ts';
import { type Edited, type RequestEdit, editRequest } from '#policies/request-edits.ts';
import type { PathMatch } from '#protocol/config/generation.ts';
import type { Admission } from '../../core/admission.ts';
import type { EdgeRequest } from './edge.ts';
import { tooLarge } from './request-body.ts';

export class EditedRequest implements EdgeRequest {
  readonly #came: EdgeRequest;
  readonly #edited: Edited;

  /** @param before what is edited: `came` itself, or what became of it. */
  constructor(came: EdgeRequest, before: Edited, edits: readonly RequestEdit[]) {
    this.#came = came;
    this.#edited = editRequest(before, edits);
  }

  get headers(): EdgeRequest['headers'] {
    return this.#edited.headers;
  }

  get query(): string {
    return this.#edited.query;
  }

  get written(): ReadonlySet<string> {
    return this.#edited.written;
  }

  header(name: string): string | undefined {
    const value = this.#edited.headers[name];
    return typeof value === 'string' || value === undefined ? value : value[0];
  }

  with(edits: readonly RequestEdit[]): EdgeRequest {
    return new EditedRequest(this.#came, this.#edited, edits);
  }

  takeLogins(): void {
    this.#came.takeLogins();
  }

  get came(): EdgeRequest {
    return this.#came;
  }

  get matched(): PathMatch | undefined {
    return this.#came.matched;
  }

  set matched(match: PathMatch | undefined) {
    this.#came.matched = match;
  }

  get loginCookies(): string | undefined {
    return this.#came.loginCookies;
  }

  get method(): string {
    return this.#edited.method;
  }

  get path(): string {
    return this.#edited.path;
  }

  get host(): string {
    return this.#edited.host;
  }

  get scheme(): 'http' | 'https' {
    return this.#edited.scheme;
  }

  get version(): string {
    return this.#came.version;
  }

  get source(): Source {
    return this.#came.source;
  }

  get destination(): EdgeRequest['destination'] {
    return this.#came.destination;
  }

  get startedAtMs(): number {
    return this.#came.startedAtMs;
  }

  get admission(): Admission {
    return this.#came.admission;
  }

  get lookedInto(): boolean {
    return this.#came.lookedInto;
  }

  get upgrade(): string | undefined {
    return this.#came.upgrade;
  }

  get bodyBytes(): number | undefined {
    return this.#edited.content?.length ?? this.#came.bodyBytes;
  }

  chunks(): AsyncIterable<Uint8Array> {
    const { content } = this.#edited;
    return content === undefined ? this.#came.chunks() : only(content);
  }

  async body(max: number): Promise<Uint8Array> {
    const { content } = this.#edited;
    if (content === undefined) return this.#came.body(max);
    if (content.length > max) throw tooLarge(max);
    return content;
  }

  async prefix(max: number): Promise<BodyPrefix> {
    const { content } = this.#edited;
    return content === undefined ? this.#came.prefix(max) : { bytes: content.subarray(0, max), complete: content.length <= max };
  }
}

async function* only(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
}
