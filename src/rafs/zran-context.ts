import { readU64, writeU64 } from './binary.js';

/** Bytes of a zran context; contexts follow the chunk infos in the decoded array of a blob with feature ZRAN. */
export const ZRAN_CONTEXT_SIZE = 40;

const IN_OFFSET = 0;
const OUT_OFFSET = 8;
const DICT_OFFSET = 16;
const IN_SIZE = 24;
const OUT_SIZE = 28;
const DICT_SIZE = 32;
const BYTE = 36;
const BITS = 37;

/** Where a slice of a gzip file is, and the state of an inflate decoder at its start, which is that of a deflate block. */
export interface ZranContext {
  /** Position and length of the slice in the gzip file; the position is behind `byte` if the block starts inside it. */
  inOffset: number;
  inSize: number;
  /** Position and length of what the slice decodes to. */
  outOffset: number;
  outSize: number;
  /** Window (at most 32 KiB of preceding output), relative to the dictionary area behind the contexts. */
  dictOffset: number;
  dictSize: number;
  /** The byte in which the block starts, and how many of its high bits belong to the block. */
  byte: number;
  bits: number;
}

/** Writes 40 bytes at `offset` of `target`, which must be zero there. */
export function encodeZranContext(context: ZranContext, target: Buffer, offset: number): void {
  writeU64(target, context.inOffset, offset + IN_OFFSET);
  writeU64(target, context.outOffset, offset + OUT_OFFSET);
  writeU64(target, context.dictOffset, offset + DICT_OFFSET);
  target.writeUInt32LE(context.inSize, offset + IN_SIZE);
  target.writeUInt32LE(context.outSize, offset + OUT_SIZE);
  target.writeUInt32LE(context.dictSize, offset + DICT_SIZE);
  target.writeUInt8(context.byte, offset + BYTE);
  target.writeUInt8(context.bits, offset + BITS);
}

/** Reads 40 bytes at `offset`. */
export function decodeZranContext(bytes: Buffer, offset: number): ZranContext {
  return {
    inOffset: readU64(bytes, offset + IN_OFFSET),
    inSize: bytes.readUInt32LE(offset + IN_SIZE),
    outOffset: readU64(bytes, offset + OUT_OFFSET),
    outSize: bytes.readUInt32LE(offset + OUT_SIZE),
    dictOffset: readU64(bytes, offset + DICT_OFFSET),
    dictSize: bytes.readUInt32LE(offset + DICT_SIZE),
    byte: bytes.readUInt8(offset + BYTE),
    bits: bytes.readUInt8(offset + BITS),
  };
}
