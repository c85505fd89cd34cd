/** Bytes of a chunk info V1 of a RAFS blob's compression context table. */
export const CHUNK_INFO_V1_SIZE = 16;

/** Where a chunk is in both address spaces. It is compressed if the sizes differ. */
export interface ChunkInfoV1 {
  /** Raw bytes, 1 to 16 MiB. */
  size: number;
  /** A multiple of 4096 below 2^44. */
  decodedOffset: number;
  /** 1 to 16 MiB. */
  storedSize: number;
  /** Below 2^40. */
  storedOffset: number;
}

// Word 0: bits 8-11 and 44-63 are (size - 1) bits 20-23 and 0-19, bits 12-43 the decoded offset in place.
// Word 1: bits 0-39 the stored offset, bits 40-43 and 44-63 (stored size - 1) bits 20-23 and 0-19.

/** Writes 16 bytes at `offset` of `target`. */
export function encodeChunkInfoV1(info: ChunkInfoV1, target: Buffer, offset: number): void {
  const size = BigInt(info.size - 1);
  const word0 = ((size >> 20n) << 8n) | BigInt(info.decodedOffset) | ((size & 0xfffffn) << 44n);
  const storedSize = BigInt(info.storedSize - 1);
  const word1 = BigInt(info.storedOffset) | ((storedSize >> 20n) << 40n) | ((storedSize & 0xfffffn) << 44n);
  target.writeBigUInt64LE(word0, offset);
  target.writeBigUInt64LE(word1, offset + 8);
}

/** Reads 16 bytes at `offset`. */
export function decodeChunkInfoV1(bytes: Buffer, offset: number): ChunkInfoV1 {
  const low = bytes.readUInt32LE(offset);
  const high = bytes.readUInt32LE(offset + 4);
  const storedHigh = bytes.readUInt32LE(offset + 12);
  return {
    size: ((high >>> 12) | (((low >>> 8) & 0xf) << 20)) + 1,
    decodedOffset: (high & 0xfff) * 2 ** 32 + ((low & ~0xfff) >>> 0),
    storedSize: ((storedHigh >>> 12) | (((storedHigh >>> 8) & 0xf) << 20)) + 1,
    storedOffset: (storedHigh & 0xff) * 2 ** 32 + bytes.readUInt32LE(offset + 8),
  };
}
