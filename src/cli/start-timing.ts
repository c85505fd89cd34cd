import { StepClock } from '../mount/steps.js';
import { formatTable } from './format.js';

/** Measures a start from this process's own on, for `rafter run --timing`. */
export interface StartTiming {
  clock: StepClock;
  /** To be told of what the container writes; its first line is the end of the start. */
  onOutput(bytes: Buffer): void;
  /** The steps as a table, and as data with `json`. */
  report(options: { json: boolean }): string;
}

/** Begins to measure: everything up to now was this process's own start. */
export function measureStart(): StartTiming {
  // The clock of a process starts with it.
  const clock = new StepClock(0);
  clock.note('start the command', 0);
  let isOver = false;
  return {
    clock,
    onOutput(bytes) {
      if (isOver || !bytes.includes('\n')) return;
      isOver = true;
      const { atMs, ms } = clock.steps.at(-1)!;
      clock.note('container until its first line', atMs + ms);
    },
    report({ json }) {
      const { steps } = clock;
      if (json) return JSON.stringify({ steps });
      const rows = steps.map(({ name, atMs, ms }) => [
        ...[atMs, ms].map((time) => time.toFixed(0).padStart(6)),
        name,
      ]);
      return formatTable([['    AT', '    MS', 'STEP'], ...rows]);
    },
  };
}
