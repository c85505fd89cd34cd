/** Values on their way from whoever puts them to one who takes them, in order. */
export class Mailbox<T> {
  readonly #values: T[] = [];
  #waiting: ((value: T) => void) | undefined;

  put(value: T): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting(value);
    else this.#values.push(value);
  }

  /** The oldest value, as soon as there is one. One taker at a time. */
  async take(): Promise<T> {
    const value = this.#values.shift();
    if (value !== undefined) return value;
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
}
