import { FETCH_CLASSES, type FetchClass } from './fetch-class.js';
import { type Histogram, newHistogram } from './histogram.js';

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
  demandWait: Histogram;
}

/** All counters at zero. */
export function noFetchStats(): FetchStats {
  const classes = Object.fromEntries(FETCH_CLASSES.map((name) => [name, { requests: 0, fetchedBytes: 0 }]));
  return { classes: classes as FetchStats['classes'], demandWait: newHistogram() };
}
