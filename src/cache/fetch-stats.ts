import { FETCH_CLASSES, type FetchClass } from './fetch-class.js';

/** Upper bounds of the buckets of demand waits, in seconds; a last bucket has what took longer. */
const WAIT_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
];

/** What one class has fetched. A request counts for the class that it was begun for, whoever joined it. */
interface ClassStats {
  /** Range requests to the source, those made again because of wrong bytes too. */
  requests: number;
  /** Stored bytes that the source gave. */
  fetchedBytes: number;
}

/** What all blobs of a store have fetched since it was opened, by class, and how long readers waited for it. */
export interface FetchStats {
  classes: Record<FetchClass, ClassStats>;
  /** Waits of reads that needed something that was not here, until all of it had come. */
  demandWait: {
    /** Upper bounds of the buckets but the last one, in seconds. */
    bounds: readonly number[];
    /** Waits up to each bound and above the one before it; the last are longer than all. */
    buckets: number[];
    /** Of all waits, in seconds. */
    sumSeconds: number;
    count: number;
  };
}

/** All counters at zero. */
export function noFetchStats(): FetchStats {
  const classes = Object.fromEntries(FETCH_CLASSES.map((name) => [name, { requests: 0, fetchedBytes: 0 }]));
  return {
    classes: classes as FetchStats['classes'],
    demandWait: {
      bounds: WAIT_BOUNDS,
      buckets: new Array(WAIT_BOUNDS.length + 1).fill(0),
      sumSeconds: 0,
      count: 0,
    },
  };
}

/** Counts a wait of `seconds`. */
export function noteDemandWait({ demandWait }: FetchStats, seconds: number): void {
  const bucket = WAIT_BOUNDS.findIndex((bound) => seconds <= bound);
  demandWait.buckets[bucket < 0 ? WAIT_BOUNDS.length : bucket]!++;
  demandWait.sumSeconds += seconds;
  demandWait.count++;
}
