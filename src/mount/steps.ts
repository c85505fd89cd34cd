/** Something that was done on the way to a running container. */
export interface Step {
  name: string;
  /** Milliseconds from the beginning of the work that it is part of. */
  atMs: number;
  /** How long it took, in milliseconds. Steps may go on at the same time. */
  ms: number;
}

/** Notes how long the steps of some work take. */
export class StepClock {
  readonly #startedAt: number;
  readonly #steps: Step[] = [];

  /** `startedAt`: when the work began, in milliseconds of `performance.now()`. */
  constructor(startedAt = performance.now()) {
    this.#startedAt = startedAt;
  }

  /** In the order of their beginnings. */
  get steps(): Step[] {
    return this.#steps.toSorted((a, b) => a.atMs - b.atMs);
  }

  /** Does `work`, and notes it when it has not failed. */
  async time<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    const from = performance.now();
    const result = await work();
    this.note(name, from);
    return result;
  }

  /** Notes the steps of work that began at `from`, in milliseconds of `performance.now()`. */
  include(steps: readonly Step[], from: number): void {
    for (const { name, atMs, ms } of steps) this.note(name, from + atMs, from + atMs + ms);
  }

  /** Notes a step from `from` to `to`, in milliseconds of `performance.now()`. */
  note(name: string, from: number, to = performance.now()): void {
    this.#steps.push({ name, atMs: from - this.#startedAt, ms: to - from });
  }
}
