import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { releaseMemoryAtRest } from '../../../src/mount/daemon/memory-release.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('gives memory back once after each piece of work, when the daemon rests', () => {
  let cpu = 1_000_000;
  let released = 0;
  let deepReleases = 0;
  const release = (deeply: boolean) => {
    released++;
    if (deeply) deepReleases++;
    // That is work, too.
    cpu += 100_000;
  };
  const memory = releaseMemoryAtRest({ cpuTime: () => cpu, release });
  /** What the daemon works until the next look, in milliseconds of CPU time. */
  const work = (ms: number) => {
    cpu += ms * 1000;
    vi.advanceTimersByTime(2000);
    return released;
  };
  const rest = () => [work(1), work(0), work(1), work(0)];
  // Its start was work.
  expect([work(500), work(500), ...rest()]).toEqual([0, 0, 0, 0, 0, 1]);
  expect([...rest(), ...rest()]).toEqual(Array(8).fill(1));
  expect([work(2000), work(0), work(0), work(0), work(2000), ...rest()]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 2]);
  // A little at a time adds up.
  for (let i = 0; i < 15; i++) work(30);
  expect(released).toBe(3);
  expect(deepReleases).toBe(0);
  // Without work, too, if nobody has mounted anything for long.
  memory.isDue();
  expect([...rest(), ...rest()]).toEqual([4, 4, 4, 4, 4, 4, 4, 4]);
  expect(deepReleases).toBe(1);
  memory.stop();
  expect([work(2000), ...rest()]).toEqual([4, 4, 4, 4, 4]);
});

it('joins half empty pages of the heap', () => {
  const program = join(import.meta.dirname, 'heap-program.mjs');
  const { full, released } = JSON.parse(
    execFileSync(process.execPath, ['--expose-gc', program], { encoding: 'utf8' }),
  );
  expect(released).toBeLessThan(full * 0.85);
});
