import { closeSync, fdatasyncSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { isKernelAtLeast } from '../../src/os/kernel.js';

/** Number of cachestat(2) on every architecture (Linux 6.5). */
const SYS_CACHESTAT = 451;
const POSIX_FADV_DONTNEED = 4;
/** Bytes of `struct cachestat_range` and `struct cachestat` (include/uapi/linux/mman.h). */
const [RANGE_SIZE, STAT_SIZE] = [16, 40];

/** True if the kernel can tell what it holds of a file, and EROFS can be told to hold nothing twice (`directio`). */
export const canCountPages = isKernelAtLeast(6, 15);

/** Pages of 4 KiB that the kernel holds of the file at `path`. */
export function pagesHeld(path: string): number {
  const library = koffi.load('libc.so.6');
  const call = library.func('syscall', 'int64_t', ['int64_t', 'int', 'void *', 'void *', 'uint']);
  const fd = openSync(path, 'r');
  try {
    const stat = Buffer.alloc(STAT_SIZE);
    if (Number(call(SYS_CACHESTAT, fd, Buffer.alloc(RANGE_SIZE), stat, 0)) !== 0)
      throw new Error(`cachestat ${path}: errno ${koffi.errno()}`);
    return Number(stat.readBigUInt64LE(0));
  } finally {
    closeSync(fd);
  }
}

/** Has the kernel forget the pages of the file at `path`. */
export function forgetPages(path: string): void {
  const fadvise = koffi.load('libc.so.6').func('int posix_fadvise(int, int64_t, int64_t, int)');
  const fd = openSync(path, 'r');
  try {
    fdatasyncSync(fd);
    if (fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) !== 0) throw new Error(`posix_fadvise ${path} failed`);
  } finally {
    closeSync(fd);
  }
}
