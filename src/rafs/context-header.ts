import { readU64, writeU64 } from './binary.js';

/** Bytes of the header behind a RAFS blob's chunk info array. */
export const CONTEXT_HEADER_SIZE = 4096;

/** Stands at both ends of the header. */
export const CONTEXT_MAGIC = 0xb10bb10b;

const MAGIC = 0;
const FEATURES = 4;
const CI_COMPRESSOR = 8;
const CI_ENTRIES = 12;
const CI_OFFSET = 16;
const CI_COMPRESSED_SIZE = 24;
const CI_UNCOMPRESSED_SIZE = 32;
const CONTEXTS_OFFSET = 40;
const CONTEXTS_SIZE = 48;
const CONTEXTS_COUNT = 56;
const MAGIC_END = CONTEXT_HEADER_SIZE - 4;

/** The compression context header. */
export interface ContextHeader {
  magic: number;
  /** Blob features as the blob's writer set them. */
  features: number;
  /** Number of the array's compressor. */
  ciCompressor: number;
  /** Chunks. */
  ciEntries: number;
  ciOffset: number;
  ciCompressedSize: number;
  ciUncompressedSize: number;
  /** Batch or zran contexts: byte offset in the decoded array, bytes (with dictionaries), number. All 0 if there are none. */
  contextsOffset: number;
  contextsSize: number;
  contextsCount: number;
  magicEnd: number;
}

/** Writes 4096 bytes at `offset` of `target`, which must be zero there. */
export function encodeContextHeader(header: ContextHeader, target: Buffer, offset: number): void {
  target.writeUInt32LE(header.magic, offset + MAGIC);
  target.writeUInt32LE(header.features, offset + FEATURES);
  target.writeUInt32LE(header.ciCompressor, offset + CI_COMPRESSOR);
  target.writeUInt32LE(header.ciEntries, offset + CI_ENTRIES);
  writeU64(target, header.ciOffset, offset + CI_OFFSET);
  writeU64(target, header.ciCompressedSize, offset + CI_COMPRESSED_SIZE);
  writeU64(target, header.ciUncompressedSize, offset + CI_UNCOMPRESSED_SIZE);
  writeU64(target, header.contextsOffset, offset + CONTEXTS_OFFSET);
  writeU64(target, header.contextsSize, offset + CONTEXTS_SIZE);
  target.writeUInt32LE(header.contextsCount, offset + CONTEXTS_COUNT);
  target.writeUInt32LE(header.magicEnd, offset + MAGIC_END);
}

/** Reads 4096 bytes at `offset`. */
export function decodeContextHeader(bytes: Buffer, offset: number): ContextHeader {
  return {
    magic: bytes.readUInt32LE(offset + MAGIC),
    features: bytes.readUInt32LE(offset + FEATURES),
    ciCompressor: bytes.readUInt32LE(offset + CI_COMPRESSOR),
    ciEntries: bytes.readUInt32LE(offset + CI_ENTRIES),
    ciOffset: readU64(bytes, offset + CI_OFFSET),
    ciCompressedSize: readU64(bytes, offset + CI_COMPRESSED_SIZE),
    ciUncompressedSize: readU64(bytes, offset + CI_UNCOMPRESSED_SIZE),
    contextsOffset: readU64(bytes, offset + CONTEXTS_OFFSET),
    contextsSize: readU64(bytes, offset + CONTEXTS_SIZE),
    contextsCount: bytes.readUInt32LE(offset + CONTEXTS_COUNT),
    magicEnd: bytes.readUInt32LE(offset + MAGIC_END),
  };
}
