import { readBootstrapTables } from '../rafs/bootstrap-tables.js';
import { ChunkDigests } from '../rafs/chunk-digests.js';
import { CHUNK_TABLE_ENTRY_SIZE, type ChunkTableEntry, decodeChunkTableEntry } from '../rafs/chunk-table.js';
import type { FaultList } from './faults.js';

/** The chunk table of a bootstrap, row by row and by chunk. */
export interface ChunkTable {
  rows: number;
  /** Byte offset in the bootstrap of the first row that lists a chunk, undefined if none does. */
  locate(blobIndex: number, chunkIndex: number): number | undefined;
  /** The row that lists a chunk, undefined if none does. Its digest is a view. */
  find(blobIndex: number, chunkIndex: number): ChunkTableEntry | undefined;
  /** All rows with their byte offsets in the bootstrap. */
  each(): Generator<ChunkTableEntry & { offset: number }>;
}

/** Opens the chunk table of `bytes`, which `parseBootstrap` has accepted. */
export function openChunkTable(bytes: Buffer, name: string): ChunkTable {
  const { extended, blobs } = readBootstrapTables(bytes, name);
  const { offset, size } = extended.chunkTable;
  const digests = new ChunkDigests(bytes, extended.chunkTable, blobs.length);
  const rows = size / CHUNK_TABLE_ENTRY_SIZE;
  return {
    rows,
    locate: (blobIndex, chunkIndex) => digests.locate(blobIndex, chunkIndex),
    find(blobIndex, chunkIndex) {
      const at = digests.locate(blobIndex, chunkIndex);
      return at === undefined ? undefined : decodeChunkTableEntry(bytes, at);
    },
    *each() {
      for (let row = 0; row < rows; row++) {
        const at = offset + row * CHUNK_TABLE_ENTRY_SIZE;
        yield { ...decodeChunkTableEntry(bytes, at), offset: at };
      }
    },
  };
}

/** Reports rows out of order (digest, then blob), rows for chunks that do not exist, and chunks with more than one row. */
export function checkChunkTable(
  table: ChunkTable,
  blobs: readonly { id: string; chunkCount: number }[],
  faults: FaultList,
): void {
  let before: ChunkTableEntry | undefined;
  for (const row of table.each()) {
    const { digest, blobIndex, index, offset } = row;
    const order = before && (Buffer.compare(before.digest, digest) || before.blobIndex - blobIndex);
    if (order !== undefined && order > 0)
      faults.add('bootstrap', `chunk table: the row of chunk ${index} is out of order`, { offset });
    before = row;
    const blob = blobs[blobIndex];
    if (!blob || index >= blob.chunkCount) {
      faults.add('bootstrap', `chunk table: chunk ${index} of blob number ${blobIndex} does not exist`, {
        offset,
      });
      continue;
    }
    if (table.locate(blobIndex, index) !== offset)
      faults.add('bootstrap', 'chunk table: a second row for the chunk', {
        blob: blob.id,
        chunk: index,
        offset,
      });
  }
}
