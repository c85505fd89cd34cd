import { join } from 'node:path';
import { messageOf } from '../../errors.js';

/** A full disk fails every write: it is reported, and tried for what nobody waits for, once in a while, not each time. */
const INTERVAL_MS = 60_000;

/** Remembers whether the cache directory takes what is written. */
export class WriteTrouble {
  readonly #dir: string;
  readonly #onWarning: (message: string, cause: unknown) => void;
  #problem: string | undefined;
  #since = 0;
  #lastWarning = Number.NEGATIVE_INFINITY;

  /** `onWarning` is told of failures, at most once a minute. */
  constructor(dir: string, onWarning: (message: string, cause: unknown) => void) {
    this.#dir = dir;
    this.#onWarning = onWarning;
  }

  /** What the last write said, if it failed. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** True if the last write failed, less than a minute ago. */
  get isRecent(): boolean {
    return this.#problem !== undefined && performance.now() - this.#since < INTERVAL_MS;
  }

  /** Writing `name` failed with `error`. */
  note(name: string, error: unknown): void {
    this.#problem = messageOf(error);
    this.#since = performance.now();
    if (this.#since - this.#lastWarning < INTERVAL_MS) return;
    this.#lastWarning = this.#since;
    this.#onWarning(`cache ${join(this.#dir, name)} cannot be written: ${this.#problem}`, error);
  }

  /** A write succeeded. */
  clear(): void {
    this.#problem = undefined;
  }
}
