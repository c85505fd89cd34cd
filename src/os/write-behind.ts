import type { FileHandle } from 'node:fs/promises';
import { libc } from './libc.js';

/** sync_file_range(2): begins to write out what is not being written out yet, and does not wait for it. */
const SYNC_FILE_RANGE_WRITE = 2;
/** Bytes that are written out together. */
const STEP = 8 << 20;

/** Lets the kernel write out what of a file is there, while the rest is made: fsync at its end then has little left to wait for. */
export interface WriteBehind {
  /** Tells that the file now has `size` bytes, written from its beginning on. */
  grown(size: number): void;
  /** To be awaited before the file is closed. */
  idle(): Promise<void>;
}

/** Follows a file that is written from its beginning to its end. What cannot be written out, fsync reports. */
export function createWriteBehind(handle: FileHandle): WriteBehind {
  let begun = 0;
  let running: Promise<unknown> | undefined;
  return {
    grown(size) {
      if (size - begun < STEP || running !== undefined) return;
      running = libc()
        .syncFileRangeAside(handle.fd, begun, size - begun, SYNC_FILE_RANGE_WRITE)
        .finally(() => {
          running = undefined;
        });
      begun = size;
    },
    async idle() {
      await running;
    },
  };
}
