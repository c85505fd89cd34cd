import type { FetchClass } from './fetch/fetch-class.js';

/**
 * Where the stored bytes of one blob come from: a registry, an OCI layout. What it gives is not trusted: the cache
 * checks every chunk. Waiting for a bad network and trying again is the source's own duty.
 */
export interface BlobBytes {
  /** For messages: which blob, from where. Without secrets. */
  readonly name: string;
  /** Where the requests go: a registry host. Those to one host share its limits; default: the host without a name. */
  readonly host?: string | undefined;
  /**
   * Where bytes come in pieces, just now: any read in an aligned window of so many stored bytes costs as much as all of it, so what is
   * missing of the window is better read along. Undefined: a read costs what it has.
   */
  readonly pieceBytes?: number | undefined;
  /** Exactly `length` bytes of the stored blob from byte `offset`. Rejects soon after `signal` is aborted. `urgency`: why they are read. */
  read(offset: number, length: number, signal?: AbortSignal, urgency?: FetchClass): Promise<Buffer>;
  /**
   * Says that `bytes`, the very buffer that `read` returned, turned out wrong: the next read is to come from somewhere else. True if it
   * does. Absent: there is only one place that it can come from.
   */
  distrust?(bytes: Buffer): boolean;
  /** Hears of decoded bytes that need not be read here: another blob had them. */
  onCopied?(bytes: number): void;
}
