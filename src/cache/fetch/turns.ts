/** Lets pieces of work follow one another that have the same name; those of different names run side by side. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work` after what was asked for under the same name before, whether or not that succeeded. */
  take<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(name) ?? Promise.resolve()).then(work, work);
    const settled = turn
      .catch(() => {})
      .then(() => {
        if (this.#last.get(name) === settled) this.#last.delete(name);
      });
    this.#last.set(name, settled);
    return turn;
  }

  /** Settles when what has been asked for until now is done. Never fails. */
  async idle(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
