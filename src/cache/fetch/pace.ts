import { setTimeout as sleep } from 'node:timers/promises';

/** Spreads work over time, so that no more than so many bytes come per second. */
export class Pace {
  readonly #rate: number;
  #freeAt = 0;

  /** `rate` in bytes per second; without it nothing is held up. */
  constructor(rate = Number.POSITIVE_INFINITY) {
    this.#rate = rate;
  }

  /** Bytes of one second. */
  get rate(): number {
    return this.#rate;
  }

  /** Resolves when `bytes` more may come. Rejects when `signal` is aborted. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const wait = this.#freeAt - now;
    this.#freeAt = Math.max(this.#freeAt, now) + (bytes / this.#rate) * 1000;
    if (wait > 0) await sleep(wait, undefined, { signal });
  }
}
