import { setMaxListeners } from 'node:events';

/** Counts what is being worked on, and can call off all of it. */
export class RunningWork {
  readonly #cancellable = new Set<AbortController>();
  #running = 0;
  #onIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  /** True from the call of `close`. */
  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** Counts `work`: `close` waits for it. */
  async count<T>(work: () => Promise<T>): Promise<T> {
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      if (this.#running === 0) this.#onIdle?.();
    }
  }

  /** Runs `work`, which is counted, with a signal that is aborted when `signal` is, by `close`, and when the work fails. */
  async cancellably<T>(
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController();
    // A read waits for as many units as it spans.
    setMaxListeners(0, controller.signal);
    const cancel = () => controller.abort(signal?.reason);
    if (signal?.aborted || this.isClosed) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    this.#cancellable.add(controller);
    try {
      return await work(controller.signal);
    } catch (error) {
      // Whatever else this work was waiting for need not go on for its sake.
      controller.abort(error);
      throw error;
    } finally {
      this.#cancellable.delete(controller);
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Calls everything off, for `reason`, and waits for its end. */
  close(reason: Error): Promise<void> {
    this.#closing ??= (async () => {
      for (const controller of this.#cancellable) controller.abort(reason);
      if (this.#running > 0) {
        await new Promise<void>((resolve) => {
          this.#onIdle = resolve;
        });
      }
    })();
    return this.#closing;
  }
}
