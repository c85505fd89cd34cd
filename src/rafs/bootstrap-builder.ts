import type { Compressor } from '../codec/compressor.js';
import type { DigestAlgorithm } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { BLOB_ENTRY_SIZE, encodeBlobEntry } from './blob-entry.js';
import { BlobFeature, hasFeature } from './blob-features.js';
import { chunkTablePieces, collectChunks } from './chunk-collector.js';
import { CHUNK_TABLE_ENTRY_SIZE } from './chunk-table.js';
import { DEVICE_SLOT_SIZE, DEVICE_TABLE_OFFSET, encodeDeviceSlot, mapDevices } from './device-slot.js';
import { EXTENDED_OFFSET, encodeExtendedSuperblock } from './extended-superblock.js';
import { encodeFlags } from './flags.js';
import { writeInodes } from './inode-writer.js';
import { alignUp, BLOCK_SIZE, MAX_BLOBS, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE } from './limits.js';
import { matchPrefetchRules } from './prefetch-rules.js';
import { encodePrefetchTable, PREFETCH_ENTRY_SIZE } from './prefetch-table.js';
import { encodeSuperblock, rafsSuperblock, SUPERBLOCK_OFFSET } from './superblock.js';
import type { BlobRef, TreeNode } from './tree.js';
import { layOutTree } from './tree-layout.js';

/** What an image's bootstrap is made of. */
export interface BootstrapOptions {
  /** The root directory; its name does not count. */
  root: TreeNode;
  /** Finished blobs in table order. Blobs that no chunk refers to are left out. */
  blobs: readonly BlobRef[];
  /** Bytes of a chunk, a power of two from 4 KiB to 16 MiB; the same as the blobs'. */
  chunkSize: number;
  /** For the superblock only: what a blob really uses is in its own fields. */
  compressor: Compressor;
  digester: DigestAlgorithm;
  /** Absolute paths of files and directories, most important first; see `matchPrefetchRules`. */
  prefetch?: readonly Buffer[];
}

/** A bootstrap that is made while it is written. */
export interface EncodedBootstrap {
  /** Bytes of the pieces. */
  size: number;
  /** Ids of the blobs that it refers to, in the order of its blob table. */
  blobIds: string[];
  /** Its bytes. A piece is good until the next one is asked for. */
  pieces(): Generator<Buffer>;
}

/** As `encodeBootstrap`, in one buffer. */
export function buildBootstrap(options: BootstrapOptions): Buffer {
  const { size, pieces } = encodeBootstrap(options);
  const bytes = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (const piece of pieces()) at += piece.copy(bytes, at);
  return bytes;
}

/**
 * Makes a RAFS v6 bootstrap: an EROFS image whose devices are the decoded blobs. The same input gives the same bytes.
 * Throws LIMIT_EXCEEDED or UNSUPPORTED, naming the path, for what RAFS v6 cannot hold; USAGE for prefetch paths that are
 * not absolute.
 */
export function encodeBootstrap(options: BootstrapOptions): EncodedBootstrap {
  const { root, chunkSize, prefetch = [] } = options;
  if (chunkSize < MIN_CHUNK_SIZE || chunkSize > MAX_CHUNK_SIZE || (chunkSize & (chunkSize - 1)) !== 0) {
    throw new Error(`a chunk size of ${chunkSize}`);
  }
  if (root.inode.type !== 'dir') throw new Error(`the root is a ${root.inode.type}`);
  const tree = layOutTree(root, chunkSize);
  const chunks = collectChunks(tree.inodes, options.blobs, chunkSize);
  const { blobs, blobIndex } = chunks;
  if (blobs.length > MAX_BLOBS) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${blobs.length} blobs in one image; RAFS v6 allows at most ${MAX_BLOBS}`,
    );
  }
  const entries = blobs.map((blob, index) => ({ ...blob.fields, index }));
  for (const { id, chunkSize: own } of entries) {
    if (own !== chunkSize) throw new Error(`blob ${id} has chunks of ${own} in an image of ${chunkSize}`);
  }
  // Without blobs there is no prefetch table, and the meta area overlays the start of the file.
  const prefetched = blobs.length > 0 ? matchPrefetchRules(tree, prefetch) : [];
  const blobTable = alignUp(DEVICE_TABLE_OFFSET + blobs.length * DEVICE_SLOT_SIZE, BLOCK_SIZE);
  const blobTableSize = blobs.length * BLOB_ENTRY_SIZE;
  const prefetchSize = prefetched.length * PREFETCH_ENTRY_SIZE;
  const metaOffset = blobs.length > 0 ? alignUp(blobTable + blobTableSize + prefetchSize, BLOCK_SIZE) : 0;
  const chunkTable = alignUp(metaOffset + tree.size, BLOCK_SIZE);
  const chunkTableSize = chunks.chunks.length * CHUNK_TABLE_ENTRY_SIZE;

  const size = alignUp(chunkTable + chunkTableSize, BLOCK_SIZE);
  // The chunk table, a good third of it all, follows piece by piece.
  const bytes = Buffer.alloc(chunkTable);
  const deviceBlocks = entries.map((entry) => entry.uncompressedSize / BLOCK_SIZE);
  const superblock = rafsSuperblock({
    rootNid: tree.slots[0]!,
    inos: tree.nameCount,
    blocks: deviceBlocks.reduce((sum, blocks) => sum + blocks, 0),
    metaBlock: metaOffset / BLOCK_SIZE,
    extraDevices: blobs.length,
  });
  encodeSuperblock(superblock, bytes, SUPERBLOCK_OFFSET);
  encodeExtendedSuperblock(
    {
      flags: encodeFlags({
        compressor: options.compressor,
        digester: options.digester,
        hasXattr: tree.inodes.some(({ xattrs }) => xattrs.length > 0),
        inlinedChunkDigest: entries.every(({ features }) =>
          hasFeature(features, BlobFeature.INLINED_CHUNK_DIGEST),
        ),
        encrypted: entries.some(({ cipher }) => cipher !== undefined),
      }),
      blobTable: { offset: blobTable, size: blobTableSize },
      chunkSize,
      chunkTable: { offset: chunkTable, size: chunkTableSize },
      prefetchTable: { offset: prefetchSize > 0 ? blobTable + blobTableSize : 0, size: prefetchSize },
    },
    bytes,
    EXTENDED_OFFSET,
  );
  const mapped = mapDevices(size, deviceBlocks, BLOCK_SIZE);
  entries.forEach((entry, i) => {
    const slot = { tag: entry.id, blocks: deviceBlocks[i]!, mappedBlock: mapped[i]! };
    encodeDeviceSlot(slot, bytes, DEVICE_TABLE_OFFSET + i * DEVICE_SLOT_SIZE);
    encodeBlobEntry(entry, bytes, blobTable + i * BLOB_ENTRY_SIZE);
  });
  const prefetchNids = prefetched.map((i) => tree.slots[i]!);
  encodePrefetchTable(prefetchNids, bytes, blobTable + blobTableSize);
  writeInodes({ bytes, metaOffset, chunkSize, blobIndex }, tree);
  return {
    size,
    blobIds: entries.map(({ id }) => id),
    *pieces() {
      yield bytes;
      yield* chunkTablePieces(chunks);
      yield Buffer.alloc(size - chunkTable - chunkTableSize);
    },
  };
}
