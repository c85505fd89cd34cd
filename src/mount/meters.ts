import { type Histogram, newHistogram, observe } from '../cache/fetch/histogram.js';
import { isRafterError } from '../errors.js';
import { FsError } from '../fuse/fs-error.js';
import type { Sample } from './metrics-text.js';

/** How often what failed, by the `code` of the error. */
interface ErrorCounter {
  note(error: unknown): void;
  samples(): Sample[];
}

/** A sum for each value of one label. */
interface LabelledSum {
  add(value: string, count?: number): void;
  samples(): Sample[];
}

/** What the daemon counts while it works, and that nothing else counts. */
export interface Meters {
  fetches: Histogram;
  fetchErrors: ErrorCounter;
  reads: Histogram;
  readErrors: ErrorCounter;
  /** Reads that wait now. */
  waitingReads(): number;
  requestErrors: ErrorCounter;
  /** Bytes of blobs, by where they came from. */
  sourceBytes: LabelledSum;
  /** How often a Dragonfly peer was set aside, by the reason. */
  peerFailures: LabelledSum;
  /** Passes on a fetch, and counts it. */
  measureFetch<T>(work: Promise<T>): Promise<T>;
  /** Passes on a read that could not be answered at once, and counts it. */
  measureRead<T>(work: Promise<T>): Promise<T>;
}

export function createMeters(): Meters {
  const [fetches, reads] = [newHistogram(), newHistogram()];
  const [fetchErrors, readErrors, requestErrors] = [createCounter(), createCounter(), createCounter()];
  let waiting = 0;
  return {
    fetches,
    fetchErrors,
    reads,
    readErrors,
    waitingReads: () => waiting,
    requestErrors,
    sourceBytes: createSum('from', ['peers', 'registry']),
    peerFailures: createSum('reason'),
    measureFetch: (work) => measure(work, fetches, fetchErrors),
    async measureRead(work) {
      waiting++;
      try {
        return await measure(work, reads, readErrors);
      } finally {
        waiting--;
      }
    },
  };
}

/** What failed counts as an error and not as a latency; what nobody wanted any more counts as nothing. */
async function measure<T>(work: Promise<T>, times: Histogram, errors: ErrorCounter): Promise<T> {
  const start = performance.now();
  try {
    const result = await work;
    observe(times, (performance.now() - start) / 1000);
    return result;
  } catch (error) {
    if (!wasCalledOff(error)) errors.note(error);
    throw error;
  }
}

function wasCalledOff(error: unknown): boolean {
  return error instanceof FsError ? error.errno === 'EINTR' : isRafterError(error, 'INTERRUPTED');
}

function createCounter(): ErrorCounter {
  const counts = createSum('code');
  return { note: (error) => counts.add(codeOf(error)), samples: counts.samples };
}

/** Sums of `values` are shown from the beginning, those of others when they have something. */
function createSum(label: string, values: readonly string[] = []): LabelledSum {
  const sums = new Map<string, number>(values.map((value) => [value, 0]));
  return {
    add: (value, count = 1) => void sums.set(value, (sums.get(value) ?? 0) + count),
    samples: () => [...sums].map(([value, sum]) => ({ labels: { [label]: value }, value: sum })),
  };
}

/** The code of the RafterError that is the reason of `error`; FAILED if none is. */
function codeOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (isRafterError(cause)) return cause.code;
  return 'FAILED';
}
