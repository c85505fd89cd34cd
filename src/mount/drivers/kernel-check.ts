import { RafterError } from '../../errors.js';
import { BodyBudget } from '../../rafs/body-budget.js';
import type { Bootstrap, ChunkAddress } from '../../rafs/bootstrap.js';
import { type WalkEntry, walk } from '../../rafs/walk.js';

/** Bootstraps that have passed; their bytes do not change. */
const passed = new WeakSet<Bootstrap>();

/** True if `checkForKernel` has not passed it, and may. */
export function isUnchecked(bootstrap: Bootstrap): boolean {
  return bootstrap.version === 6 && !passed.has(bootstrap);
}

/**
 * Reads everything of a bootstrap that the kernel's EROFS would read: every directory, inode, link, xattr and chunk address.
 * The kernel is given no metadata that has not passed this: its own checks are meant for damage, ours for malice.
 * `isSound` is what the quick look said, if somebody has looked.
 * Throws MALFORMED or LIMIT_EXCEEDED, naming path or offset, and UNSUPPORTED for what only a FUSE driver can serve.
 */
export function checkForKernel(bootstrap: Bootstrap, isSound?: boolean): void {
  if (passed.has(bootstrap)) return;
  if (bootstrap.version !== 6)
    throw new RafterError('UNSUPPORTED', `${bootstrap.name}: RAFS v${bootstrap.version} is not EROFS`);
  if (bootstrap.blockSize !== 4096)
    throw new RafterError('UNSUPPORTED', `${bootstrap.name}: blocks of ${bootstrap.blockSize} bytes`);
  if (!(isSound ?? bootstrap.isSound?.())) readAll(bootstrap);
  passed.add(bootstrap);
}

function readAll(bootstrap: Bootstrap): void {
  const budget = new BodyBudget(bootstrap);
  const seen = new Set<number>();
  for (const entry of walk(bootstrap)) {
    const { inode } = entry;
    if (seen.has(inode.nid)) continue;
    seen.add(inode.nid);
    budget.take(inode);
    if (inode.hasXattrs) bootstrap.xattrs(inode);
    if (inode.type === 'symlink') bootstrap.readlink(inode);
    if (inode.type === 'file') checkChunks(bootstrap, entry);
  }
}

/** The kernel reads whole pages from where a chunk is said to be, and believes that a file is one run if its inode says so. */
function checkChunks(bootstrap: Bootstrap, entry: WalkEntry): void {
  const { inode } = entry;
  const { chunkSize, blobs } = bootstrap;
  const wrong = (problem: string) =>
    new RafterError('MALFORMED', `${bootstrap.name}: ${entry.path}: ${problem}`);
  let first: ChunkAddress | undefined;
  for (let k = 0; k < inode.chunkCount; k++) {
    const chunk = bootstrap.chunkAt(inode, k);
    const { blobIndex, decodedOffset } = chunk;
    const end = decodedOffset + Math.min(chunkSize, inode.size - k * chunkSize);
    const room = blobs[blobIndex]?.uncompressedSize ?? 0;
    if (end > room) throw wrong(`chunk ${k} ends at ${end} in a blob of ${room} bytes`);
    first ??= chunk;
    if (!inode.oneRun) continue;
    const expected = first.decodedOffset + k * chunkSize;
    if (blobIndex !== first.blobIndex || decodedOffset !== expected)
      throw wrong(`chunk ${k} does not follow the one before, although the inode says so`);
  }
}
