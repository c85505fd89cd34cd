import { CHUNK_TABLE_ENTRY_SIZE, encodeChunkTableEntry } from './chunk-table.js';
import type { BlobRef, Chunk, Inode } from './tree.js';

/** All chunks that the files of a tree refer to. */
export interface CollectedChunks {
  /** The blobs among those given that some chunk is in, in the given order. */
  blobs: BlobRef[];
  /** Position of each of them. */
  blobIndex: Map<BlobRef, number>;
  /** Each chunk once, in the order of the chunk table: by digest, then blob. */
  chunks: Chunk[];
  /** For each of them an offset in a file at which it stands: in the last file, of those that share it. */
  fileOffsets: Float64Array;
}

/**
 * Gathers the chunks of `inodes`. `blobs` must hold every blob that is referred to; the others are left out.
 */
export function collectChunks(
  inodes: readonly Inode[],
  blobs: readonly BlobRef[],
  chunkSize: number,
): CollectedChunks {
  const given = new Set(blobs);
  const seen = new Set<BlobRef>();
  let count = 0;
  for (const { blob } of eachChunk(inodes)) {
    if (!given.has(blob)) throw new Error('a chunk is in a blob that the bootstrap is not given');
    seen.add(blob);
    count++;
  }
  const used = blobs.filter((blob) => seen.has(blob));
  const blobIndex = new Map(used.map((blob, i) => [blob, i]));
  const references = listReferences(inodes, { count, chunkSize });
  const order = sortReferences(references, blobIndex);
  return { blobs: used, blobIndex, ...dropRepeated(references, order) };
}

/** A chunk for each place in a file that refers to one. */
interface References {
  chunks: Chunk[];
  fileOffsets: Float64Array;
}

function* eachChunk(inodes: readonly Inode[]): Generator<Chunk> {
  for (const inode of inodes) if (inode.type === 'file') yield* inode.chunks;
}

function listReferences(
  inodes: readonly Inode[],
  { count, chunkSize }: { count: number; chunkSize: number },
): References {
  // An array that grows is copied again and again.
  const chunks = new Array<Chunk>(count);
  const fileOffsets = new Float64Array(count);
  let at = 0;
  for (const inode of inodes) {
    if (inode.type !== 'file') continue;
    for (const [k, chunk] of inode.chunks.entries()) {
      fileOffsets[at] = k * chunkSize;
      chunks[at++] = chunk;
    }
  }
  return { chunks, fileOffsets };
}

/** Positions of references, sorted by digest, blob and index; of those to one chunk, in the order in which they were found. */
function sortReferences({ chunks }: References, blobIndex: Map<BlobRef, number>): Uint32Array {
  // Comparing numbers is several times faster than comparing buffers.
  const prefixes = Float64Array.from(chunks, ({ digest }) => digest.readUIntBE(0, 6));
  return Uint32Array.from(chunks.keys()).sort((i, j) => {
    const byPrefix = prefixes[i]! - prefixes[j]!;
    if (byPrefix !== 0) return byPrefix;
    const a = chunks[i]!;
    const b = chunks[j]!;
    return (
      Buffer.compare(a.digest, b.digest) ||
      blobIndex.get(a.blob)! - blobIndex.get(b.blob)! ||
      a.index - b.index ||
      i - j
    );
  });
}

function dropRepeated({ chunks, fileOffsets }: References, order: Uint32Array): References {
  const kept: Chunk[] = [];
  const offsets = new Float64Array(order.length);
  for (const i of order) {
    const chunk = chunks[i]!;
    const before = kept.at(-1);
    if (!before || before.blob !== chunk.blob || before.index !== chunk.index) kept.push(chunk);
    offsets[kept.length - 1] = fileOffsets[i]!;
  }
  return { chunks: kept, fileOffsets: offsets };
}

/** Entries of the chunk table that are encoded at a time. */
const PIECE_ENTRIES = 8192;

/** The chunk table. A piece is good until the next one is asked for. */
export function* chunkTablePieces({ chunks, fileOffsets, blobIndex }: CollectedChunks): Generator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_ENTRIES, chunks.length) * CHUNK_TABLE_ENTRY_SIZE);
  for (let from = 0; from < chunks.length; from += PIECE_ENTRIES) {
    const end = Math.min(from + PIECE_ENTRIES, chunks.length);
    for (let i = from; i < end; i++) {
      const chunk = chunks[i]!;
      const { digest, flags, storedSize, size, storedOffset, decodedOffset, index, crc } = chunk;
      encodeChunkTableEntry(
        {
          digest,
          blobIndex: blobIndex.get(chunk.blob)!,
          flags,
          storedSize,
          size,
          storedOffset,
          decodedOffset,
          fileOffset: fileOffsets[i]!,
          index,
          crc,
        },
        buffer,
        (i - from) * CHUNK_TABLE_ENTRY_SIZE,
      );
    }
    yield buffer.subarray(0, (end - from) * CHUNK_TABLE_ENTRY_SIZE);
  }
}
