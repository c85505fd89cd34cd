import { setFlagsFromString } from 'node:v8';
import { collectGarbage } from '../../os/collect-garbage.js';
import { libc } from '../../os/libc.js';

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
  /** `deeply`: what the next mount would have to make again, too. */
  release?: (deeply: boolean) => void;
}

/** What gives memory back. */
export interface MemoryRelease {
  /** Nobody has mounted anything for long: at the next rest also that is given back which only mounts need. */
  isDue(): void;
  stop(): void;
}

/**
 * Gives memory back to the machine once some work is done and the daemon rests: after a mount, and after data was fetched. Nothing is
 * given back while it works: whoever needs memory soon again would only ask for it again.
 */
export function releaseMemoryAtRest({
  cpuTime = usedByProcess,
  release = releaseMemory,
}: MemoryReleaseOptions = {}): MemoryRelease {
  let released = 0;
  let before = cpuTime();
  let looksAtRest = 0;
  let isDue = false;
  const look = () => {
    const now = cpuTime();
    looksAtRest = now - before < REST ? looksAtRest + 1 : 0;
    if (looksAtRest >= LOOKS_AT_REST && (isDue || now - released >= WORK)) {
      release(isDue);
      isDue = false;
      released = cpuTime();
    }
    before = now;
  };
  const timer = setInterval(look, LOOK_EVERY).unref();
  return {
    isDue() {
      isDue = true;
    },
    stop: () => clearInterval(timer),
  };
}

function usedByProcess(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/**
 * V8 of Node.js 20 keeps the bytecode of a function until so many collections have passed without a call of it: 6, and to give memory
 * back, 1. It is compiled again when the function is called.
 */
const BYTECODE_AGE = process.versions.node.startsWith('20.') ? { usual: 6, atRest: 1 } : undefined;

/**
 * Collects garbage, with half empty pages joined, and has the C library give back what was freed. V8 left to itself keeps all pages
 * that work has once needed; glibc keeps the buffers of all chunks that were decoded at the same time. `deeply` also forgets the bytecode
 * of functions that were not called since the last time: some 3 MB, for which the next mount takes some 30 ms of CPU time longer.
 * @public Also for a test's program, which runs from dist/ and is not looked at for what it uses.
 */
export function releaseMemory(deeply = false): void {
  // V8 asks for this flag whenever it collects. Left on it would cost a third more CPU time.
  setFlagsFromString('--optimize-for-size');
  if (deeply && BYTECODE_AGE) setFlagsFromString(`--bytecode-old-age=${BYTECODE_AGE.atRest}`);
  collectGarbage();
  setFlagsFromString('--no-optimize-for-size');
  if (BYTECODE_AGE) setFlagsFromString(`--bytecode-old-age=${BYTECODE_AGE.usual}`);
  setTimeout(() => libc().malloc_trim(0), SWEEP_MS).unref();
}
