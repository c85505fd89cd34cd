import { BodyBudget } from '../rafs/body-budget.js';
import type { Bootstrap } from '../rafs/bootstrap.js';
import { walk } from '../rafs/walk.js';
import { TRACE_PAGE_SIZE } from './trace.js';

/** A file of an image, under the first of its names. */
export interface TracedFile {
  /** Absolute path; any bytes. */
  path: Buffer;
  /** Bytes. */
  size: number;
}

/** Decoded bytes of a blob that belong to a file, in whole pages. */
export interface FileRange {
  start: number;
  end: number;
  file: TracedFile;
}

/** Which file of an image the bytes of its blobs belong to. Chunks that several files have belong to the first. */
export class FileRanges {
  /** For each blob, ascending; they do not overlap. */
  readonly #ranges: FileRange[][];

  /** Reads the whole tree. Throws what `walk` and `BodyBudget` throw, and MALFORMED for a chunk outside of its blob. */
  constructor(bootstrap: Bootstrap) {
    const found = bootstrap.blobs.map(() => new Map<number, FileRange>());
    const seen = new Set<number>();
    const budget = new BodyBudget(bootstrap);
    for (const { path, inode } of walk(bootstrap)) {
      if (inode.type !== 'file' || seen.has(inode.nid)) continue;
      seen.add(inode.nid);
      budget.take(inode);
      const { chunkSize } = bootstrap;
      const file = { path, size: inode.size };
      for (let k = 0; k * chunkSize < inode.size; k++) {
        const { blobIndex, decodedOffset: start } = bootstrap.chunkAt(inode, k);
        const size = Math.min(chunkSize, inode.size - k * chunkSize);
        const end = start + Math.ceil(size / TRACE_PAGE_SIZE) * TRACE_PAGE_SIZE;
        const known = found[blobIndex]!;
        if (!known.has(start)) known.set(start, { start, end, file });
      }
    }
    this.#ranges = found.map((ranges) => [...ranges.values()].sort((a, b) => a.start - b.start));
  }

  /** The ranges of blob `blob` that overlap decoded bytes from `start` to `end`, in order. */
  *overlapping(blob: number, start: number, end: number): Generator<FileRange> {
    const ranges = this.#ranges[blob] ?? [];
    let [low, high] = [0, ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ranges[middle]!.end <= start) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < ranges.length && ranges[i]!.start < end; i++) yield ranges[i]!;
  }
}
