import type { Compressor } from '../codec/compressor.js';
import { DIGEST_SIZE } from '../codec/digest.js';
import { malformed, readPaddedText, readU64, writeU64 } from './binary.js';

/** Bytes of one entry of a Nydus blob's table of contents. */
export const TOC_ENTRY_SIZE = 128;

const FLAGS = 0;
const NAME = 8;
const NAME_SIZE = 16;
const DIGEST = 24;
const OFFSET = 56;
const STORED_SIZE = 64;
const SIZE = 72;

/** Flag bit of a compressor; gzip cannot be said. */
const COMPRESSOR_FLAGS: Partial<Record<Compressor, number>> = { none: 1, zstd: 2, lz4_block: 4 };
const COMPRESSOR_MASK = 0xf;

/** Names of the sections that a table of contents lists, in order. */
export const TocName = {
  DATA: 'image.blob',
  CHUNK_INFOS: 'blob.meta',
  CONTEXT_HEADER: 'blob.meta.header',
  DIGESTS: 'blob.digest',
  BOOTSTRAP: 'image.boot',
} as const;

/** One section of a blob file. */
export interface TocEntry {
  name: string;
  compressor: Compressor;
  /** SHA-256 of the decoded section; of `image.blob`: of the stored bytes and the tar header behind them. */
  digest: Buffer;
  /** Byte offset in the file, and bytes there. */
  offset: number;
  storedSize: number;
  /** Decoded bytes. */
  size: number;
}

/** Writes 128 bytes at `offset` of `target`, which must be zero there. */
export function encodeTocEntry(entry: TocEntry, target: Buffer, offset: number): void {
  const flags = COMPRESSOR_FLAGS[entry.compressor];
  if (flags === undefined) throw new Error(`a table of contents cannot say ${entry.compressor}`);
  target.writeUInt32LE(flags, offset + FLAGS);
  target.write(entry.name, offset + NAME, NAME_SIZE, 'latin1');
  entry.digest.copy(target, offset + DIGEST, 0, DIGEST_SIZE);
  writeU64(target, entry.offset, offset + OFFSET);
  writeU64(target, entry.storedSize, offset + STORED_SIZE);
  writeU64(target, entry.size, offset + SIZE);
}

/** Reads 128 bytes at `offset` of `source`. Throws MALFORMED for unknown compressors. */
export function decodeTocEntry(bytes: Buffer, offset: number, source: string): TocEntry {
  const flags = bytes.readUInt32LE(offset + FLAGS) & COMPRESSOR_MASK;
  const found = Object.entries(COMPRESSOR_FLAGS).find(([, bit]) => bit === flags);
  if (!found) throw malformed(source, 'TOC entry flags', offset, `0x${flags.toString(16)}`);
  return {
    name: readPaddedText(bytes, offset + NAME, NAME_SIZE),
    compressor: found[0] as Compressor,
    digest: Buffer.copyBytesFrom(bytes, offset + DIGEST, DIGEST_SIZE),
    offset: readU64(bytes, offset + OFFSET),
    storedSize: readU64(bytes, offset + STORED_SIZE),
    size: readU64(bytes, offset + SIZE),
  };
}
