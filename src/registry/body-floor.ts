import type { Readable } from 'node:stream';

/** Fewest bytes per second that a body must bring to those who wait for it: a start-up pack of 8 MiB would take two minutes. */
export const FLOOR_BYTES_PER_SECOND = 64 << 10;

/** How often a body is looked at in the time that it is judged by. */
const LOOKS = 5;

export interface FloorOptions {
  /** By how much of its time a body is judged, in milliseconds. */
  windowMs: number;
  /** Called once, when it was too slow; it is destroyed then with the error that this returns. */
  onSlow: () => Error;
}

/**
 * Ends a body that brings bytes, but so few that whoever waits for them would do better elsewhere. Time in which its reader leaves bytes
 * lying does not count. Whoever reads it tells `note` how many bytes came.
 */
export function watchFloor(
  body: Readable,
  { windowMs, onSlow }: FloorOptions,
): { note(count: number): void } {
  const least = (FLOOR_BYTES_PER_SECOND * windowMs) / 1000;
  /** Bytes of each of the latest looks. */
  const latest: number[] = [];
  let count = 0;
  const timer = setInterval(() => {
    if (body.readableLength > 0) {
      latest.length = count = 0;
      return;
    }
    latest.push(count);
    count = 0;
    if (latest.length > LOOKS) latest.shift();
    if (latest.length < LOOKS || latest.reduce((sum, one) => sum + one, 0) >= least) return;
    clearInterval(timer);
    body.destroy(onSlow());
  }, windowMs / LOOKS);
  timer.unref();
  body.once('close', () => clearInterval(timer));
  return {
    note(more) {
      count += more;
    },
  };
}
