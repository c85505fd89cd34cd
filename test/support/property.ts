import type { Parameters } from 'fast-check';

/** Seconds that each property is tried; not set: a fixed number of runs with a fixed seed. */
const SECONDS = process.env.RAFTER_FUZZ_SECONDS;
const SHORT_SEED = 20261121;
/** Most seconds of a short run, on a machine however busy. */
const SHORT_SECONDS = 10;

/** Time for a property with `propertyRuns`, in milliseconds: shrinking takes as long again. */
export const PROPERTY_TIMEOUT = 2 * Number(SECONDS ?? SHORT_SECONDS) * 1000 + 120_000;

/**
 * How often a property is tried: `numRuns` times, always with the same values; for `RAFTER_FUZZ_SECONDS`, with new ones, where
 * that is set. `RAFTER_FUZZ_SEED` is the seed, or `SEED/PATH` as a failure prints them, to begin with what failed.
 */
export function propertyRuns<T>(numRuns: number): Parameters<T> {
  const [seed, path] = (process.env.RAFTER_FUZZ_SEED ?? '').split('/');
  const chosen = { ...(seed && { seed: Number(seed) }), ...(path && { path }) };
  if (SECONDS === undefined) {
    return { seed: SHORT_SEED, numRuns, interruptAfterTimeLimit: SHORT_SECONDS * 1000, ...chosen };
  }
  return {
    seed: Date.now() & 0x7fffffff,
    numRuns: 1_000_000,
    interruptAfterTimeLimit: Number(SECONDS) * 1000,
    ...chosen,
  };
}

/** A predicate of a property that can be waited for: what the end of `RAFTER_FUZZ_SECONDS` interrupts goes on behind the test's back. */
export function awaited<Values extends unknown[]>(predicate: (...values: Values) => Promise<void>) {
  let running: Promise<void> = Promise.resolve();
  return {
    predicate: (...values: Values): Promise<void> => {
      running = predicate(...values);
      return running;
    },
    /** Resolves when the last run has ended, well or not. */
    settle: (): Promise<void> => running.catch(() => {}),
  };
}
