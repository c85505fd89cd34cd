/**
 * Where the stored bytes of one blob come from: a registry, an OCI layout. What it gives is not trusted: the cache
 * checks every chunk. Waiting for a bad network and trying again is the source's own duty.
 */
export interface BlobBytes {
  /** For messages: which blob, from where. Without secrets. */
  readonly name: string;
  /** Exactly `length` bytes of the stored blob from byte `offset`. Rejects soon after `signal` is aborted. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer>;
}
