interface Pending {
  /** Never rejects by itself: the outcome is looked at in its turn. */
  outcome: Promise<{ value: unknown } | { error: unknown }>;
  size: number;
  use: (value: never) => Promise<void>;
}

/**
 * Work that runs side by side and is used in the order in which it was added, so that the result does not depend on
 * timing. At most `limit` bytes of work are under way, except that a single larger piece is let in alone.
 */
export class OrderedWindow {
  readonly #limit: number;
  readonly #queue: Pending[] = [];
  #size = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Starts `work` of `size` bytes as soon as there is room; its result goes to `use` after those of all earlier work. Throws
   * what earlier work or its use threw.
   */
  async add<T>(size: number, work: () => Promise<T>, use: (value: T) => Promise<void>): Promise<void> {
    while (this.#queue.length > 0 && this.#size + size > this.#limit) await this.#useFirst();
    this.#size += size;
    const outcome = work().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    this.#queue.push({ outcome, size, use });
  }

  /** Waits for all work and its use. */
  async finish(): Promise<void> {
    while (this.#queue.length > 0) await this.#useFirst();
  }

  async #useFirst(): Promise<void> {
    const { outcome, size, use } = this.#queue.shift()!;
    const result = await outcome;
    this.#size -= size;
    if ('error' in result) throw result.error;
    await use(result.value as never);
  }
}
