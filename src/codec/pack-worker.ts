import { type Compressor, compressBriefly } from './compressor.js';

/** What one call of the worker gets: the bytes of one unit, in memory that it shares with the caller. */
export interface PackTask {
  raw: Uint8Array;
  compressor: Compressor;
  level: number | undefined;
}

/**
 * Runs in a worker thread of `pack-pool.ts`. Writes the compressed unit over the beginning of `raw` and returns its bytes;
 * 0: the unit does not shrink, and `raw` is as it was.
 */
export default function pack({ raw, compressor, level }: PackTask): number {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const packed = compressBriefly(compressor, bytes, level);
  if (packed.length >= bytes.length) return 0;
  packed.copy(bytes);
  return packed.length;
}
