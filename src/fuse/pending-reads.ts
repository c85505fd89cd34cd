/** Reads that wait for something, so that each can be called off: by the kernel, or because the mount has ended. */
export class PendingReads {
  /** By the eight bytes that name a request. */
  readonly #running = new Map<string, AbortController>();

  /** Runs `work` for request `unique`; its signal is aborted when the request is interrupted. */
  async run<T>(unique: Buffer, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const key = unique.toString('latin1');
    const controller = new AbortController();
    this.#running.set(key, controller);
    try {
      return await work(controller.signal);
    } finally {
      this.#running.delete(key);
    }
  }

  /** Calls off all of them: nobody is there any more. */
  interruptAll(): void {
    for (const controller of this.#running.values()) controller.abort();
  }

  /** Calls off request `unique`, if it still runs. */
  interrupt(unique: Buffer): void {
    this.#running.get(unique.toString('latin1'))?.abort();
  }
}
