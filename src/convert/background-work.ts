/** Work that goes on beside its caller, one piece at a time. What it throws comes out at the next call. */
export class BackgroundWork {
  #running: Promise<unknown> = Promise.resolve();

  /** Waits until earlier work is done, then begins `work` and returns. */
  async begin(work: () => Promise<unknown>): Promise<void> {
    await this.#running;
    this.#running = work();
    // Looked at by whoever comes next.
    this.#running.catch(() => {});
  }

  /** Waits until all is done. */
  async finish(): Promise<void> {
    await this.#running;
  }

  /** Waits until nothing runs any more, whatever became of it. */
  async settle(): Promise<void> {
    await this.#running.catch(() => {});
  }
}
