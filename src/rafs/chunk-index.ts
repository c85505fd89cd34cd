/** Regular files of RAFS v6: i_u holds a chunk format, an array of 8-byte entries follows inode and xattrs. */
export const CHUNK_ENTRY_SIZE = 8;
/** The array starts at a multiple of this. */
export const CHUNK_ARRAY_ALIGNMENT = 8;

const FORMAT_BITS = 0x1f;
const FORMAT_INDEXES = 0x20;
const MAX_FORMAT_BITS = 31;

const INDEX_LOW = 0;
const DEVICE = 2;
const BLOCK = 4;

/** Block number that EROFS uses for a hole; RAFS stores holes as chunks of zeros. */
export const HOLE_BLOCK = 0xffffffff;

/** i_u of a file whose chunks are `chunkSize` bytes (a power of two) in a file system of `blockSize` blocks. */
export function encodeChunkFormat(chunkSize: number, blockSize: number): number {
  return FORMAT_INDEXES | Math.log2(chunkSize / blockSize);
}

/** Chunk size in bytes that i_u names, or undefined if i_u is not that of a RAFS file. */
export function decodeChunkFormat(union: number, blockSize: number): number | undefined {
  if ((union & ~FORMAT_BITS) >>> 0 !== FORMAT_INDEXES) return undefined;
  return blockSize * 2 ** (union & FORMAT_BITS);
}

/**
 * The chunk size to write in i_u for a file of `size` bytes whose chunks are consecutive in one blob: the kernel then
 * sees one chunk. Never beyond what the five bits can say.
 */
export function widenedChunkSize(size: number, chunkSize: number, blockSize: number): number {
  let widened = chunkSize;
  while (widened < size && widened < blockSize * 2 ** MAX_FORMAT_BITS) widened *= 2;
  return widened;
}

/** One entry of a file's chunk index. */
export interface ChunkIndexEntry {
  /** Position in the blob table. */
  blobIndex: number;
  /** Position in the blob's chunk info array, below 2^24. */
  chunkIndex: number;
  /** Block number in the blob's decoded address space. */
  block: number;
}

/** Writes 8 bytes at `offset`: the device word carries device id (blob + 1) and the chunk index's bits 16 to 23. */
export function encodeChunkIndexEntry(entry: ChunkIndexEntry, target: Buffer, offset: number): void {
  target.writeUInt16LE(entry.chunkIndex & 0xffff, offset + INDEX_LOW);
  target.writeUInt16LE((entry.blobIndex + 1) | ((entry.chunkIndex >>> 16) << 8), offset + DEVICE);
  target.writeUInt32LE(entry.block, offset + BLOCK);
}

/** Reads 8 bytes at `offset`. `blobIndex` is -1 for device 0, the bootstrap itself. */
export function decodeChunkIndexEntry(bytes: Buffer, offset: number): ChunkIndexEntry {
  const device = bytes.readUInt16LE(offset + DEVICE);
  return {
    blobIndex: (device & 0xff) - 1,
    chunkIndex: bytes.readUInt16LE(offset + INDEX_LOW) | ((device >>> 8) << 16),
    block: bytes.readUInt32LE(offset + BLOCK),
  };
}
