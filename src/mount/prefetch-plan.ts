import type { Bootstrap, ChunkAddress, DiskInode } from '../rafs/bootstrap.js';
import { walk } from '../rafs/walk.js';

/** Most decoded bytes that a prefetch table makes a mount fetch: no start needs more. */
const MAX_PREFETCH_BYTES = 256 << 20;
/** Most files whose chunks are looked up for it. */
const MAX_PREFETCH_FILES = 1 << 16;

/**
 * The chunks of what the prefetch table of `bootstrap` lists, each once, in its order; a directory means all files below it. An entry for
 * the root, which tools write that were told nothing, lists everything and so says nothing: it is passed over, as is what is no inode.
 * Ends at either limit. Throws MALFORMED where the tree itself is damaged.
 */
export function* listedChunks(
  bootstrap: Bootstrap,
  { maxBytes = MAX_PREFETCH_BYTES, maxFiles = MAX_PREFETCH_FILES } = {},
): Generator<ChunkAddress> {
  const seen = bootstrap.blobs.map(() => new Set<number>());
  let bytes = 0;
  let files = 0;
  for (const nid of new Set(bootstrap.prefetchNids)) {
    if (nid === bootstrap.rootNid) continue;
    for (const inode of filesOf(bootstrap, nid)) {
      if (++files > maxFiles) return;
      for (let k = 0; k < inode.chunkCount; k++) {
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

function* filesOf(bootstrap: Bootstrap, nid: number): Generator<DiskInode> {
  let inode: DiskInode;
  try {
    inode = bootstrap.inode(nid);
  } catch {
    return;
  }
  if (inode.type === 'file') yield inode;
  if (inode.type !== 'dir') return;
  for (const entry of walk(bootstrap, { path: Buffer.from('/'), inode }))
    if (entry.inode.type === 'file') yield entry.inode;
}
