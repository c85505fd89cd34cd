import type { BlobCache } from '../../cache/blob-cache.js';
import { setReadAhead } from '../../os/read-ahead.js';
import type { MountRequest } from '../api/api.js';
import { untilQuiet } from './completion.js';
import type { StartupPack } from './startup-pack.js';

/** What the kernel reads ahead in the files of a mount by itself, in KiB (Linux, VM_READAHEAD_PAGES). */
const KERNEL_READ_AHEAD_KIB = 128;
/** The start is over when its readers had to wait for nothing for so long, in milliseconds. */
const QUIET_MS = 3000;

export interface StartupReadAheadOptions {
  /** Undefined if the image has none. */
  pack: StartupPack | undefined;
  /** True if reads are answered from it. */
  isAttached: boolean;
  blobs: readonly BlobCache[];
  request: Pick<MountRequest, 'readAheadKiB' | 'trace'>;
  /** Where it is mounted. */
  mountpoint: string;
}

/**
 * Has the kernel read no more ahead, until the start is over, than when the start-up pack was recorded: a request that reaches out of the
 * pack costs a chunk. What the user has set stays, and so does what a trace needs. Nothing that goes wrong here is worth an
 * error. `stop` ends it, for the mount's end.
 */
export async function limitStartupReadAhead(options: StartupReadAheadOptions): Promise<{ stop(): void }> {
  const { pack, isAttached, blobs, request, mountpoint } = options;
  const abort = new AbortController();
  const stop = () => abort.abort();
  if (pack === undefined || request.readAheadKiB !== undefined || request.trace !== undefined)
    return { stop };
  const set = (kib: number) => setReadAhead(mountpoint, kib).catch(() => {});
  const { readAhead } = pack;
  if (!isAttached || readAhead === 0 || readAhead >= KERNEL_READ_AHEAD_KIB) {
    // An earlier daemon may have been killed before it took the limit back.
    await set(KERNEL_READ_AHEAD_KIB);
    return { stop };
  }
  await set(readAhead);
  void pack.ended
    .then(() => untilQuiet(blobs, { quietMs: QUIET_MS, signal: abort.signal }))
    .then(() => set(KERNEL_READ_AHEAD_KIB))
    .catch(() => {});
  return { stop };
}
