import type { Compressor } from '../codec/compressor.js';
import type { DigestAlgorithm } from '../codec/digest.js';

/** Flag bits of the RAFS extended superblock. */
export const RafsFlag = {
  COMPRESSION_NONE: 0x1,
  COMPRESSION_LZ4: 0x2,
  HASH_BLAKE3: 0x4,
  HASH_SHA256: 0x8,
  /** uid and gid of the inodes mean something. */
  EXPLICIT_UID_GID: 0x10,
  HAS_XATTR: 0x20,
  COMPRESSION_GZIP: 0x40,
  COMPRESSION_ZSTD: 0x80,
  /** Every blob has the feature INLINED_CHUNK_DIGEST. */
  INLINED_CHUNK_DIGEST: 0x100,
  TARFS_MODE: 0x200,
  ENCRYPTION_NONE: 0x1000000,
  ENCRYPTION_AES_128_XTS: 0x2000000,
} as const;

/** Six bits reserved for additions that old readers may ignore. */
const COMPATIBLE_ADDITIONS = 0xfc000000;

const COMPRESSION: Record<Compressor, number> = {
  none: RafsFlag.COMPRESSION_NONE,
  lz4_block: RafsFlag.COMPRESSION_LZ4,
  gzip: RafsFlag.COMPRESSION_GZIP,
  zstd: RafsFlag.COMPRESSION_ZSTD,
};
const HASH: Record<DigestAlgorithm, number> = { blake3: RafsFlag.HASH_BLAKE3, sha256: RafsFlag.HASH_SHA256 };

const KNOWN = Object.values(RafsFlag).reduce((all, bit) => all | bit, COMPATIBLE_ADDITIONS) >>> 0;

/** What the flag word of an image is made of. */
export interface FlagChoice {
  compressor: Compressor;
  digester: DigestAlgorithm;
  hasXattr: boolean;
  inlinedChunkDigest: boolean;
  encrypted: boolean;
}

/** The flag word of an image with meaningful uid and gid. */
export function encodeFlags(choice: FlagChoice): number {
  return (
    COMPRESSION[choice.compressor] |
    HASH[choice.digester] |
    RafsFlag.EXPLICIT_UID_GID |
    (choice.hasXattr ? RafsFlag.HAS_XATTR : 0) |
    (choice.inlinedChunkDigest ? RafsFlag.INLINED_CHUNK_DIGEST : 0) |
    (choice.encrypted ? RafsFlag.ENCRYPTION_AES_128_XTS : RafsFlag.ENCRYPTION_NONE)
  );
}

/** What a flag word says, or the text of what is wrong with it. Images older than Nydus 2.3 have no encryption bit. */
export function decodeFlags(flags: number): FlagChoice | string {
  const high = Math.floor(flags / 2 ** 32);
  const low = flags % 2 ** 32;
  if (high !== 0 || (low & ~KNOWN) >>> 0 !== 0) return `0x${flags.toString(16)} has unknown bits`;
  const compressor = only(COMPRESSION, low);
  if (compressor === undefined) return `0x${flags.toString(16)} must name one compressor`;
  const digester = only(HASH, low);
  if (digester === undefined) return `0x${flags.toString(16)} must name one digest algorithm`;
  return {
    compressor,
    digester,
    hasXattr: (low & RafsFlag.HAS_XATTR) !== 0,
    inlinedChunkDigest: (low & RafsFlag.INLINED_CHUNK_DIGEST) !== 0,
    encrypted: (low & RafsFlag.ENCRYPTION_AES_128_XTS) !== 0,
  };
}

/** The one key of `bits` whose bit is set in `word`, undefined if there is none or more than one. */
function only<K extends string>(bits: Record<K, number>, word: number): K | undefined {
  const set = (Object.keys(bits) as K[]).filter((key) => (word & bits[key]) !== 0);
  return set.length === 1 ? set[0] : undefined;
}
