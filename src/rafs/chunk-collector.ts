import { CHUNK_TABLE_ENTRY_SIZE, encodeChunkTableEntry } from './chunk-table.js';
import type { BlobRef, Chunk, Inode } from './tree.js';

interface Row {
  chunk: Chunk;
  fileOffset: number;
  /** First 31 bits of the digest: comparing small integers is several times faster than comparing buffers. */
  prefix: number;
}

/** All chunks that the files of a tree refer to, each once. */
export interface CollectedChunks {
  /** The blobs among those given that some chunk is in, in the given order. */
  blobs: BlobRef[];
  /** Position of each of them. */
  blobIndex: Map<BlobRef, number>;
  rows: Row[];
}

/**
 * Gathers the chunks of `inodes`. `blobs` must hold every blob that is referred to; the others are left out. A chunk that
 * several files share gets the file offset of the last one.
 */
export function collectChunks(
  inodes: Iterable<Inode>,
  blobs: readonly BlobRef[],
  chunkSize: number,
): CollectedChunks {
  const byBlob = new Map<BlobRef, Map<number, Row>>(blobs.map((blob) => [blob, new Map()]));
  for (const inode of inodes) {
    if (inode.type !== 'file') continue;
    inode.chunks.forEach((chunk, k) => {
      const rows = byBlob.get(chunk.blob);
      if (!rows) throw new Error('a chunk is in a blob that the bootstrap is not given');
      const row = rows.get(chunk.index);
      if (row) row.fileOffset = k * chunkSize;
      else
        rows.set(chunk.index, {
          chunk,
          fileOffset: k * chunkSize,
          prefix: chunk.digest.readUInt32BE(0) >>> 1,
        });
    });
  }
  const used = blobs.filter((blob) => byBlob.get(blob)!.size > 0);
  const blobIndex = new Map(used.map((blob, i) => [blob, i]));
  const rows = used.flatMap((blob) => [...byBlob.get(blob)!.values()]);
  rows.sort(
    (a, b) =>
      a.prefix - b.prefix ||
      Buffer.compare(a.chunk.digest, b.chunk.digest) ||
      blobIndex.get(a.chunk.blob)! - blobIndex.get(b.chunk.blob)! ||
      a.chunk.index - b.chunk.index,
  );
  return { blobs: used, blobIndex, rows };
}

/** Writes the chunk table, sorted by digest, then blob, at `offset` of `target`. */
export function encodeChunkTable({ rows, blobIndex }: CollectedChunks, target: Buffer, offset: number): void {
  rows.forEach(({ chunk, fileOffset }, i) => {
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
        fileOffset,
        index,
        crc,
      },
      target,
      offset + i * CHUNK_TABLE_ENTRY_SIZE,
    );
  });
}
