/**
 * Where the stored bytes of one blob come from: a registry, an OCI layout. What it gives is not trusted: the cache
 * checks every chunk. Waiting for a bad network and trying again is the source's own duty.
 */
export interface BlobBytes {
  /** For messages: which blob, from where. Without secrets. */
  readonly name: string;
  /** Where the requests go: a registry host. Those to one host share its limits; default: the host without a name. */
  readonly host?: string | undefined;
  /** Exactly `length` bytes of the stored blob from byte `offset`. Rejects soon after `signal` is aborted. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer>;
  /**
   * Says that `bytes`, the very buffer that `read` returned, turned out wrong: the next read is to come from somewhere else. Absent: there
   * is only one place that it can come from.
   */
  distrust?(bytes: Buffer): void;
}
