import type { BlobBytes } from '../cache/blob-bytes.js';

/** Windows of one blob that are kept. Files that lie behind each other in a blob are read in the order of their names. */
const KEPT_WINDOWS = 4;

/**
 * The same bytes, fetched in windows of `windowSize` bytes: for readers that will want nearly all of a blob in small pieces.
 * `end` is the size of what may be read.
 */
export function readAhead(
  bytes: BlobBytes,
  { end, windowSize }: { end: number; windowSize: number },
): BlobBytes {
  const windows: { start: number; bytes: Buffer }[] = [];
  return {
    name: bytes.name,
    async read(offset, length, signal) {
      if (length >= windowSize) return bytes.read(offset, length, signal);
      const hit = windows.find(
        (window) => window.start <= offset && offset + length <= window.start + window.bytes.length,
      );
      if (hit) return hit.bytes.subarray(offset - hit.start, offset - hit.start + length);
      const size = Math.max(length, Math.min(windowSize, end - offset));
      const window = { start: offset, bytes: await bytes.read(offset, size, signal) };
      windows.unshift(window);
      windows.length = Math.min(windows.length, KEPT_WINDOWS);
      return window.bytes.subarray(0, length);
    },
  };
}
