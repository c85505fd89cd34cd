import { DIGEST_SIZE } from '../codec/digest.js';
import { readU64, writeU64 } from './binary.js';

/** Bytes of one entry of the RAFS v6 chunk table; in RAFS v5 one stands for every chunk of every file. */
export const CHUNK_TABLE_ENTRY_SIZE = 80;

/** Flag bits of a chunk table entry. Members of a batch carry neither COMPRESSED nor BATCH. */
export const ChunkFlag = {
  COMPRESSED: 0x1,
  HAS_CRC32: 0x10,
} as const;

const DIGEST = 0;
const BLOB_INDEX = 32;
const FLAGS = 36;
const STORED_SIZE = 40;
const SIZE = 44;
const STORED_OFFSET = 48;
const DECODED_OFFSET = 56;
const FILE_OFFSET = 64;
const INDEX = 72;
const CRC = 76;

/** Of an entry as little-endian numbers of 32 bits: how many, and which of them name the chunk. */
export const CHUNK_TABLE_WORDS = {
  entry: CHUNK_TABLE_ENTRY_SIZE / 4,
  blobIndex: BLOB_INDEX / 4,
  index: INDEX / 4,
} as const;

/** One chunk of one blob, as the chunk table lists it. */
export interface ChunkTableEntry {
  /** Digest of the raw bytes, 32 bytes. */
  digest: Buffer;
  blobIndex: number;
  /** `ChunkFlag` bits. */
  flags: number;
  /** Bytes in the blob; 0 for a member of a batch. */
  storedSize: number;
  /** Raw bytes. */
  size: number;
  storedOffset: number;
  decodedOffset: number;
  /** Where in a file the chunk is; one file of those that share it. */
  fileOffset: number;
  /** Position in the blob's chunk info array. */
  index: number;
  /** CRC-32C of the raw bytes if HAS_CRC32, else 0. */
  crc: number;
}

/** Writes 80 bytes at `offset` of `target`. */
export function encodeChunkTableEntry(entry: ChunkTableEntry, target: Buffer, offset: number): void {
  entry.digest.copy(target, offset + DIGEST, 0, DIGEST_SIZE);
  target.writeUInt32LE(entry.blobIndex, offset + BLOB_INDEX);
  target.writeUInt32LE(entry.flags, offset + FLAGS);
  target.writeUInt32LE(entry.storedSize, offset + STORED_SIZE);
  target.writeUInt32LE(entry.size, offset + SIZE);
  writeU64(target, entry.storedOffset, offset + STORED_OFFSET);
  writeU64(target, entry.decodedOffset, offset + DECODED_OFFSET);
  writeU64(target, entry.fileOffset, offset + FILE_OFFSET);
  target.writeUInt32LE(entry.index, offset + INDEX);
  target.writeUInt32LE(entry.crc, offset + CRC);
}

/** Reads 80 bytes at `offset`; the digest is a view of `bytes`. */
export function decodeChunkTableEntry(bytes: Buffer, offset: number): ChunkTableEntry {
  const { blobIndex, flags, storedSize, size, storedOffset, decodedOffset, fileOffset, index, crc } =
    decodeChunkPlace(bytes, offset);
  const digest = chunkTableDigest(bytes, offset);
  // Written out: to spread an object costs five times as much as all else here.
  return { digest, blobIndex, flags, storedSize, size, storedOffset, decodedOffset, fileOffset, index, crc };
}

/** Everything but the digest, for loops over many entries. */
export function decodeChunkPlace(bytes: Buffer, offset: number): Omit<ChunkTableEntry, 'digest'> {
  return {
    blobIndex: bytes.readUInt32LE(offset + BLOB_INDEX),
    flags: bytes.readUInt32LE(offset + FLAGS),
    storedSize: bytes.readUInt32LE(offset + STORED_SIZE),
    size: bytes.readUInt32LE(offset + SIZE),
    storedOffset: readU64(bytes, offset + STORED_OFFSET),
    decodedOffset: readU64(bytes, offset + DECODED_OFFSET),
    fileOffset: readU64(bytes, offset + FILE_OFFSET),
    index: bytes.readUInt32LE(offset + INDEX),
    crc: bytes.readUInt32LE(offset + CRC),
  };
}

/** The digest of the entry at `offset`, a view of `bytes`. */
export function chunkTableDigest(bytes: Buffer, offset: number): Buffer {
  return bytes.subarray(offset + DIGEST, offset + DIGEST + DIGEST_SIZE);
}

/** Where the chunk of the entry at `offset` begins in the blob's decoded address space. */
export function chunkDecodedOffset(bytes: Buffer, offset: number): number {
  return readU64(bytes, offset + DECODED_OFFSET);
}

/** The two numbers that name a chunk, of the entry at `offset`. */
export function chunkTableKey(bytes: Buffer, offset: number): { blobIndex: number; index: number } {
  return { blobIndex: bytes.readUInt32LE(offset + BLOB_INDEX), index: bytes.readUInt32LE(offset + INDEX) };
}
