import type { Bootstrap, RafsBlob } from '../rafs/bootstrap.js';
import { readBootstrapTables } from '../rafs/bootstrap-tables.js';
import { ChunkDigests } from '../rafs/chunk-digests.js';
import {
  CHUNK_TABLE_ENTRY_SIZE,
  ChunkFlag,
  type ChunkTableEntry,
  decodeChunkTableEntry,
} from '../rafs/chunk-table.js';
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
        // Adds to the row itself: a copy would cost more than to read it.
        const found = decodeChunkTableEntry(bytes, at) as ChunkTableEntry & { offset: number };
        found.offset = at;
        yield found;
      }
    },
  };
}

/** All flags that Nydus has for a row. */
const KNOWN_FLAGS = 0x1f;
const HOLE = 0x2;
const ENCRYPTED = 0x4;

/**
 * Reports rows out of order (digest, then blob), rows for chunks that do not exist, chunks with more than one row, and rows whose
 * flags, sizes or offsets cannot be.
 */
export function checkChunkTable(
  table: ChunkTable,
  { blobs, chunkSize, blockSize }: Pick<Bootstrap, 'blobs' | 'chunkSize' | 'blockSize'>,
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
    const wrong = wrongWithRow(row, { blob, chunkSize, blockSize });
    if (wrong !== undefined)
      faults.add('bootstrap', `chunk table: ${wrong}`, { blob: blob.id, chunk: index, offset });
    if (table.locate(blobIndex, index) !== offset)
      faults.add('bootstrap', 'chunk table: a second row for the chunk', {
        blob: blob.id,
        chunk: index,
        offset,
      });
  }
}

/** What of a row cannot be, by itself. */
function wrongWithRow(
  { flags, crc, size, decodedOffset, fileOffset }: ChunkTableEntry,
  { blob, chunkSize, blockSize }: { blob: RafsBlob; chunkSize: number; blockSize: number },
): string | undefined {
  const hasCrc = (flags & ChunkFlag.HAS_CRC32) !== 0;
  if ((flags & ~KNOWN_FLAGS) !== 0) return `unknown flags in 0x${flags.toString(16)}`;
  if ((flags & HOLE) !== 0) return 'the chunk is said to be a hole';
  if (((flags & ENCRYPTED) !== 0) !== (blob.cipher !== undefined))
    return 'the flag ENCRYPTED does not agree with the blob table';
  if (hasCrc !== (crc !== 0)) return `CRC ${crc} ${hasCrc ? 'with' : 'without'} the flag HAS_CRC32`;
  if (size === 0 || size > chunkSize) return `a chunk of ${size} bytes in an image of ${chunkSize}`;
  if (decodedOffset % blockSize !== 0) return `decoded offset ${decodedOffset} is not that of a block`;
  if (fileOffset % chunkSize !== 0) return `file offset ${fileOffset} is not that of a chunk`;
  return undefined;
}
