import { readU64, writeU64 } from './binary.js';
import { SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE } from './superblock.js';

/** Where the RAFS extended superblock stands, and its bytes (RAFS v6 format). The kernel skips it. */
export const EXTENDED_OFFSET = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE;
export const EXTENDED_SIZE = 256;

const FLAGS = 0;
const BLOB_TABLE_OFFSET = 8;
const BLOB_TABLE_SIZE = 16;
const CHUNK_SIZE = 20;
const CHUNK_TABLE_OFFSET = 24;
const CHUNK_TABLE_SIZE = 32;
const PREFETCH_TABLE_OFFSET = 40;
const PREFETCH_TABLE_SIZE = 48;

/** A range of the bootstrap, in bytes from its start. */
export interface TableRange {
  offset: number;
  size: number;
}

/** What RAFS adds to the EROFS superblock. */
export interface ExtendedSuperblock {
  /** `RafsFlag` bits; the defined ones lie in the low 32 bits. */
  flags: number;
  blobTable: TableRange;
  /** Bytes of a chunk; one size for the whole image. */
  chunkSize: number;
  chunkTable: TableRange;
  prefetchTable: TableRange;
}

/** Writes 256 bytes at `offset` of `target`, which must be zero there. */
export function encodeExtendedSuperblock(ext: ExtendedSuperblock, target: Buffer, offset: number): void {
  writeU64(target, ext.flags, offset + FLAGS);
  writeU64(target, ext.blobTable.offset, offset + BLOB_TABLE_OFFSET);
  target.writeUInt32LE(ext.blobTable.size, offset + BLOB_TABLE_SIZE);
  target.writeUInt32LE(ext.chunkSize, offset + CHUNK_SIZE);
  writeU64(target, ext.chunkTable.offset, offset + CHUNK_TABLE_OFFSET);
  writeU64(target, ext.chunkTable.size, offset + CHUNK_TABLE_SIZE);
  writeU64(target, ext.prefetchTable.offset, offset + PREFETCH_TABLE_OFFSET);
  target.writeUInt32LE(ext.prefetchTable.size, offset + PREFETCH_TABLE_SIZE);
}

/** Reads the 256 bytes at `offset`. */
export function decodeExtendedSuperblock(bytes: Buffer, offset: number): ExtendedSuperblock {
  return {
    flags: readU64(bytes, offset + FLAGS),
    blobTable: {
      offset: readU64(bytes, offset + BLOB_TABLE_OFFSET),
      size: bytes.readUInt32LE(offset + BLOB_TABLE_SIZE),
    },
    chunkSize: bytes.readUInt32LE(offset + CHUNK_SIZE),
    chunkTable: {
      offset: readU64(bytes, offset + CHUNK_TABLE_OFFSET),
      size: readU64(bytes, offset + CHUNK_TABLE_SIZE),
    },
    prefetchTable: {
      offset: readU64(bytes, offset + PREFETCH_TABLE_OFFSET),
      size: bytes.readUInt32LE(offset + PREFETCH_TABLE_SIZE),
    },
  };
}
