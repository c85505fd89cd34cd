import type { ReadUrgency } from '../../image/source.js';

/**
 * Why something is fetched: somebody waits for it (`demand`), it belongs to the known start of an image (`startup`), a sequential
 * reader will want it next (`readahead`), or the whole blob is to be here some day (`completion`).
 */
export type FetchClass = ReadUrgency;

/** All classes, the most urgent first. */
export const FETCH_CLASSES: readonly FetchClass[] = ['demand', 'startup', 'readahead', 'completion'];

/** What one class may do. */
export interface ClassLimits {
  /** Requests in flight to one registry host. */
  requests: number;
  /** Stored bytes of adjacent units that become one request. A single unit may be larger. */
  requestBytes: number;
  /** Begins nothing, either, while requests of its own class are waited for by a reader. */
  yieldsToJoined: boolean;
}

/**
 * Limits of each class. Sixteen requests of demand fill any wire, and what queues behind them is merged; a sequential reader
 * waits for the end of a request, so those of read-ahead are shorter; one request at a time is enough to complete blobs.
 */
export const CLASS_LIMITS: Readonly<Record<FetchClass, ClassLimits>> = {
  demand: { requests: 16, requestBytes: 4 << 20, yieldsToJoined: false },
  startup: { requests: 4, requestBytes: 4 << 20, yieldsToJoined: false },
  readahead: { requests: 4, requestBytes: 2 << 20, yieldsToJoined: false },
  completion: { requests: 1, requestBytes: 4 << 20, yieldsToJoined: true },
};

/** True if `a` goes before `b`. */
export function isMoreUrgent(a: FetchClass, b: FetchClass): boolean {
  return FETCH_CLASSES.indexOf(a) < FETCH_CLASSES.indexOf(b);
}
