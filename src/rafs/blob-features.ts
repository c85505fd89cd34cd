/** Feature bits of a blob: RAFS blob table entry and compression context header. */
export const BlobFeature = {
  /** Decoded chunks start at multiples of 4096. */
  ALIGNED: 0x1,
  /** The object also holds its own bootstrap; only in the bootstrap of a single layer. */
  INLINED_FS_META: 0x2,
  CHUNK_INFO_V2: 0x4,
  /** Chunks lie in a gzip stream and are reached through inflate contexts. */
  ZRAN: 0x8,
  /** Chunk data and compression contexts are in different objects. */
  SEPARATE: 0x10,
  /** The object holds an array of chunk digests. */
  INLINED_CHUNK_DIGEST: 0x20,
  TARFS: 0x40,
  /** Several small chunks may be compressed as one unit. */
  BATCH: 0x80,
  ENCRYPTED: 0x100,
  IS_CHUNKDICT_GENERATED: 0x200,
  /** Data is in another storage backend. */
  EXTERNAL: 0x800,
  HAS_TAR_HEADER: 0x10000000,
  HAS_TOC: 0x20000000,
  /** The writer knew HAS_TAR_HEADER and HAS_TOC, so their absence means something. */
  CAP_TAR_TOC: 0x40000000,
  /** nydusd uses it in memory only and refuses it on disk. */
  V5_NO_EXT_BLOB_TABLE: 0x80000000,
} as const;

/** The half of the word in which an unknown bit makes a blob unreadable, and the bits in it that are defined. */
const INCOMPATIBLE_HALF = 0xffff;
const KNOWN_INCOMPATIBLE = 0x0fff;

/** Bits of `features` that forbid reading the blob, 0 if none. */
export function unknownBlobFeatures(features: number): number {
  return (
    ((features & INCOMPATIBLE_HALF & ~KNOWN_INCOMPATIBLE) | (features & BlobFeature.V5_NO_EXT_BLOB_TABLE)) >>>
    0
  );
}

/** True if `features` has all bits of `bits`. */
export function hasFeature(features: number, bits: number): boolean {
  return (features & bits) >>> 0 === bits >>> 0;
}
