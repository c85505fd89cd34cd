/** Upper bounds of buckets, in seconds: from a local disk to a registry that is given up. */
const BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
];

/** How often something took how long. */
export interface Histogram {
  /** Upper bounds of the buckets but the last one, in seconds. */
  readonly bounds: readonly number[];
  /** Times up to each bound and above the one before it; the last are longer than all. */
  readonly buckets: number[];
  /** Of all times, in seconds. */
  sumSeconds: number;
  count: number;
}

/** A histogram that has nothing yet. */
export function newHistogram(): Histogram {
  return { bounds: BOUNDS, buckets: new Array<number>(BOUNDS.length + 1).fill(0), sumSeconds: 0, count: 0 };
}

/** Counts something that took `seconds`. */
export function observe(histogram: Histogram, seconds: number): void {
  const bucket = histogram.bounds.findIndex((bound) => seconds <= bound);
  histogram.buckets[bucket < 0 ? histogram.bounds.length : bucket]!++;
  histogram.sumSeconds += seconds;
  histogram.count++;
}
