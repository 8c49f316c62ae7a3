/** Event streams that are open, and what becomes of them when this process stops. */

export interface Movable {
  /** Ends it so that its client goes on elsewhere, if it can. */
  move(): void;
}

export class OpenStreams {
  readonly #open = new Set<Movable>();
  #moving = false;

  get size(): number {
    return this.#open.size;
  }

  /** The process stops: whoever can go elsewhere should. */
  get moving(): boolean {
    return this.#moving;
  }

  add(stream: Movable): void {
    this.#open.add(stream);
    if (this.#moving) stream.move();
  }

  remove(stream: Movable): void {
    this.#open.delete(stream);
  }

  /** Those that are opened later are moved at once. */
  moveAll(): void {
    this.#moving = true;
    for (const stream of this.#open) stream.move();
  }
}
