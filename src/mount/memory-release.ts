import { setFlagsFromString } from 'node:v8';
import { libc } from '../os/libc.js';

/** How often to look what the daemon does, in milliseconds. */
const LOOK_EVERY = 2000;
/** CPU time of the whole process between two looks, in microseconds: less is a daemon at rest. */
const REST = 40_000;
/** So many looks in a row: longer than mounts keep what only their start needs. */
const LOOKS_AT_REST = 4;
/** So much work since the last time, in microseconds of CPU time, leaves something to give back. */
const WORK = 250_000;

/** How long V8 may take to free the buffers that it has found to be garbage, in milliseconds: another thread does that. */
const SWEEP_MS = 1000;

export interface MemoryReleaseOptions {
  /** CPU time that the process has used so far, in microseconds. */
  cpuTime?: () => number;
  release?: () => void;
}

/**
 * Gives memory back to the machine once some work is done and the daemon rests: after a mount, and after data was fetched. Nothing is
 * given back while it works: whoever needs memory soon again would only ask for it again. Returns what ends it.
 */
export function releaseMemoryAtRest({
  cpuTime = usedByProcess,
  release = releaseMemory,
}: MemoryReleaseOptions = {}): () => void {
  let released = 0;
  let before = cpuTime();
  let looksAtRest = 0;
  const look = () => {
    const now = cpuTime();
    looksAtRest = now - before < REST ? looksAtRest + 1 : 0;
    if (looksAtRest >= LOOKS_AT_REST && now - released >= WORK) {
      release();
      released = cpuTime();
    }
    before = now;
  };
  const timer = setInterval(look, LOOK_EVERY).unref();
  return () => clearInterval(timer);
}

function usedByProcess(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/**
 * Collects garbage, with half empty pages joined, and has the C library give back what was freed. V8 left to itself keeps all pages
 * that work has once needed; glibc keeps the buffers of all chunks that were decoded at the same time. Without `--expose-gc`
 * only the latter happens.
 */
export function releaseMemory(): void {
  // V8 asks for this flag whenever it collects. Left on it would cost a third more CPU time.
  setFlagsFromString('--optimize-for-size');
  globalThis.gc?.();
  setFlagsFromString('--no-optimize-for-size');
  setTimeout(() => libc().malloc_trim(0), SWEEP_MS).unref();
}
