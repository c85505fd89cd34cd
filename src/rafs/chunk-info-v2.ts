import { BLOCK_SIZE } from './limits.js';

/** Bytes of a chunk info V2 of a RAFS blob's compression context table. */
export const CHUNK_INFO_V2_SIZE = 24;
/** Largest stored size: 24 bits, not minus one. So 16 MiB stored raw cannot be expressed. */
export const MAX_V2_STORED_SIZE = 0xffffff;

/** Flag bits of a chunk info V2. */
export const ChunkInfoFlag = {
  COMPRESSED: 0x1,
  ZRAN: 0x2,
  BATCH: 0x4,
  ENCRYPTED: 0x8,
  HAS_CRC: 0x10,
} as const;

// Word 0: decoded block (32 bits), size - 1 (24), flags (8). Word 1: stored offset (40), stored size (24).
// Word 2, by flag: context index above offset in the unit (32 bits each), or the CRC-32C in the low half.
const DECODED_BLOCK = 0;
const SIZE = 4;
const FLAGS = 7;
const STORED_OFFSET = 8;
const STORED_SIZE = 13;
const DATA_LOW = 16;
const DATA_HIGH = 20;

/** Where a chunk is, how it is stored, and its CRC or its place in a batch. */
export interface ChunkInfoV2 {
  /** A multiple of 4096 below 2^44. */
  decodedOffset: number;
  /** Raw bytes, 1 to 16 MiB. */
  size: number;
  /** `ChunkInfoFlag` bits. */
  flags: number;
  /** Below 2^40; for a member of a batch the batch's. */
  storedOffset: number;
  /** 0 for a member of a batch. */
  storedSize: number;
  /** HAS_CRC: the CRC-32C. BATCH, ZRAN: offset in the decoded unit. */
  dataLow: number;
  /** BATCH, ZRAN: index of the context. Else 0. */
  dataHigh: number;
}

/** Writes 24 bytes at `offset` of `target`. */
export function encodeChunkInfoV2(info: ChunkInfoV2, target: Buffer, offset: number): void {
  target.writeUInt32LE(info.decodedOffset / BLOCK_SIZE, offset + DECODED_BLOCK);
  target.writeUIntLE(info.size - 1, offset + SIZE, 3);
  target.writeUInt8(info.flags, offset + FLAGS);
  target.writeUIntLE(info.storedOffset, offset + STORED_OFFSET, 5);
  target.writeUIntLE(info.storedSize, offset + STORED_SIZE, 3);
  target.writeUInt32LE(info.dataLow, offset + DATA_LOW);
  target.writeUInt32LE(info.dataHigh, offset + DATA_HIGH);
}

/** Reads 24 bytes at `offset`. */
export function decodeChunkInfoV2(bytes: Buffer, offset: number): ChunkInfoV2 {
  return {
    decodedOffset: bytes.readUInt32LE(offset + DECODED_BLOCK) * BLOCK_SIZE,
    size: bytes.readUIntLE(offset + SIZE, 3) + 1,
    flags: bytes.readUInt8(offset + FLAGS),
    storedOffset: bytes.readUIntLE(offset + STORED_OFFSET, 5),
    storedSize: bytes.readUIntLE(offset + STORED_SIZE, 3),
    dataLow: bytes.readUInt32LE(offset + DATA_LOW),
    dataHigh: bytes.readUInt32LE(offset + DATA_HIGH),
  };
}
