import type { Bootstrap, ChunkAddress, DiskInode } from '../../rafs/bootstrap.js';
import { walk } from '../../rafs/walk.js';

/** Most decoded bytes that a prefetch table, or a start-up profile, makes a mount fetch: no start needs more. */
export const MAX_PREFETCH_BYTES = 256 << 20;
/** Most names and chunk addresses that are looked up for it. */
const MAX_PREFETCH_STEPS = 1 << 18;

/**
 * The chunks of what the prefetch table of `bootstrap` lists, each once, in its order; a directory means all files below it. An entry for
 * the root, which tools write that were told nothing, lists everything and so says nothing: it is passed over, as is what is no inode.
 * Ends at either limit. Throws MALFORMED where the tree itself is damaged.
 */
export function* listedChunks(
  bootstrap: Bootstrap,
  { maxBytes = MAX_PREFETCH_BYTES, maxSteps = MAX_PREFETCH_STEPS } = {},
): Generator<ChunkAddress> {
  const seen = bootstrap.blobs.map(() => new Set<number>());
  let bytes = 0;
  let steps = 0;
  for (const nid of new Set(bootstrap.prefetchNids)) {
    if (nid === bootstrap.rootNid) continue;
    for (const inode of inodesOf(bootstrap, nid)) {
      if (++steps > maxSteps) return;
      if (inode.type !== 'file') continue;
      for (let k = 0; k < inode.chunkCount; k++) {
        if (++steps > maxSteps) return;
        const address = bootstrap.chunkAt(inode, k);
        const chunks = seen[address.blobIndex]!;
        if (chunks.has(address.chunkIndex)) continue;
        bytes += Math.min(bootstrap.chunkSize, inode.size - k * bootstrap.chunkSize);
        if (bytes > maxBytes) return;
        chunks.add(address.chunkIndex);
        yield address;
      }
    }
  }
}

/** The inode `nid` and, if it is a directory, what is below it. */
function* inodesOf(bootstrap: Bootstrap, nid: number): Generator<DiskInode> {
  let inode: DiskInode;
  try {
    inode = bootstrap.inode(nid);
  } catch {
    return;
  }
  if (inode.type !== 'dir') yield inode;
  else for (const entry of walk(bootstrap, { path: Buffer.from('/'), inode })) yield entry.inode;
}
