import type { Compressor } from '../codec/compressor.js';
import { DIGEST_SIZE, type DigestAlgorithm } from '../codec/digest.js';
import type { UnitCipher } from '../codec/unit-cipher.js';
import { RafterError } from '../errors.js';
import { compressorId, compressorOf, digesterId, digesterOf } from './algorithms.js';
import { malformed, readPaddedText, readU64, writeU64 } from './binary.js';
import { BlobFeature, hasFeature } from './blob-features.js';

/** Bytes of one entry of the RAFS v6 blob table. */
export const BLOB_ENTRY_SIZE = 256;
/** Bytes of a blob id: the hex digits of a SHA-256, no terminator; shorter ones are padded with NUL. */
export const BLOB_ID_SIZE = 64;

const ID = 0;
const INDEX = 64;
const CHUNK_SIZE = 68;
const CHUNK_COUNT = 72;
const COMPRESSOR = 76;
const DIGESTER = 80;
const FEATURES = 84;
const COMPRESSED_SIZE = 88;
const UNCOMPRESSED_SIZE = 96;
const TOC_SIZE = 104;
const CI_COMPRESSOR = 108;
const CI_OFFSET = 112;
const CI_COMPRESSED_SIZE = 120;
const CI_UNCOMPRESSED_SIZE = 128;
const TOC_DIGEST = 136;
const META_DIGEST = 168;
const META_SIZE = 200;
const CIPHER_IV_TAIL = 208;
const CIPHER = 216;

const CIPHER_NONE = 0;
const CIPHER_AES_128_XTS = 1;

/** Where a blob's compression context table is (chunk info array, contexts), and how it is stored. */
interface ContextTableLocation {
  compressor: Compressor;
  /** Byte offset of the stored array in the object; the 4096-byte header follows it. */
  offset: number;
  /** Bytes of the array as stored, and decoded. */
  compressedSize: number;
  uncompressedSize: number;
}

/** What the blob table of a bootstrap says about one blob, except its position in the table. */
export interface BlobEntryFields {
  /** Hex digits (64, or fewer from other tools): the name of the object that holds the chunk data. */
  id: string;
  chunkSize: number;
  chunkCount: number;
  compressor: Compressor;
  digester: DigestAlgorithm;
  /** `BlobFeature` bits. */
  features: number;
  /** Stored bytes; what they count depends on the blob's form (see `storedDataSize`). */
  compressedSize: number;
  /** Bytes of the decoded address space: every chunk rounded up to 4096. */
  uncompressedSize: number;
  /** Bytes of the TOC with its tar header, 0 if unknown. */
  tocSize: number;
  tocDigest: Buffer;
  ci: ContextTableLocation;
  /** Digest and size of the separate object with the contexts (feature SEPARATE), else zeros. */
  metaDigest: Buffer;
  metaSize: number;
  /** AES-128-XTS key (32 bytes) and tweak (16 bytes) of an encrypted blob. They take the place of metaDigest and metaSize. */
  cipher?: UnitCipher;
}

/** One entry of the blob table. */
export interface BlobEntry extends BlobEntryFields {
  /** Position in the table. */
  index: number;
}

/** Writes `entry` at `offset` of `target`, which must be zero there. */
export function encodeBlobEntry(entry: BlobEntry, target: Buffer, offset: number): void {
  target.write(entry.id, offset + ID, BLOB_ID_SIZE, 'latin1');
  target.writeUInt32LE(entry.index, offset + INDEX);
  target.writeUInt32LE(entry.chunkSize, offset + CHUNK_SIZE);
  target.writeUInt32LE(entry.chunkCount, offset + CHUNK_COUNT);
  target.writeUInt32LE(compressorId(entry.compressor), offset + COMPRESSOR);
  target.writeUInt32LE(digesterId(entry.digester), offset + DIGESTER);
  target.writeUInt32LE(entry.features, offset + FEATURES);
  writeU64(target, entry.compressedSize, offset + COMPRESSED_SIZE);
  writeU64(target, entry.uncompressedSize, offset + UNCOMPRESSED_SIZE);
  target.writeUInt32LE(entry.tocSize, offset + TOC_SIZE);
  target.writeUInt32LE(compressorId(entry.ci.compressor), offset + CI_COMPRESSOR);
  writeU64(target, entry.ci.offset, offset + CI_OFFSET);
  writeU64(target, entry.ci.compressedSize, offset + CI_COMPRESSED_SIZE);
  writeU64(target, entry.ci.uncompressedSize, offset + CI_UNCOMPRESSED_SIZE);
  entry.tocDigest.copy(target, offset + TOC_DIGEST, 0, DIGEST_SIZE);
  if (entry.cipher) {
    entry.cipher.key.copy(target, offset + META_DIGEST, 0, 32);
    entry.cipher.iv.copy(target, offset + META_SIZE, 0, 8);
    entry.cipher.iv.copy(target, offset + CIPHER_IV_TAIL, 8, 16);
    target.writeUInt32LE(CIPHER_AES_128_XTS, offset + CIPHER);
  } else {
    entry.metaDigest.copy(target, offset + META_DIGEST, 0, DIGEST_SIZE);
    writeU64(target, entry.metaSize, offset + META_SIZE);
  }
}

/**
 * Reads the 256 bytes at `offset` of the bootstrap `name`. Checks what makes a field readable at all; the limits and the
 * relations between fields are `checkBlobEntry`'s.
 * Throws MALFORMED for an id that is no name and for unknown algorithms, UNSUPPORTED for unknown ciphers.
 */
export function decodeBlobEntry(bytes: Buffer, offset: number, name: string): BlobEntry {
  const algorithm = <T>(table: (id: number) => T | undefined, at: number, field: string): T => {
    const id = bytes.readUInt32LE(offset + at);
    const found = table(id);
    if (found === undefined)
      throw malformed(name, `blob table ${field}`, offset + at, `unknown algorithm ${id}`);
    return found;
  };
  const id = readPaddedText(bytes, offset + ID, BLOB_ID_SIZE);
  if (!/^[0-9A-Za-z]+$/.test(id)) {
    throw malformed(name, 'blob table blob_id', offset + ID, 'must be letters and digits');
  }
  const features = bytes.readUInt32LE(offset + FEATURES);
  const entry: BlobEntry = {
    id,
    index: bytes.readUInt32LE(offset + INDEX),
    chunkSize: bytes.readUInt32LE(offset + CHUNK_SIZE),
    chunkCount: bytes.readUInt32LE(offset + CHUNK_COUNT),
    compressor: algorithm(compressorOf, COMPRESSOR, 'compression_algo'),
    digester: algorithm(digesterOf, DIGESTER, 'digest_algo'),
    features,
    compressedSize: readU64(bytes, offset + COMPRESSED_SIZE),
    uncompressedSize: readU64(bytes, offset + UNCOMPRESSED_SIZE),
    tocSize: bytes.readUInt32LE(offset + TOC_SIZE),
    tocDigest: copyOf(bytes, offset + TOC_DIGEST, DIGEST_SIZE),
    ci: {
      // tarfs writes 1 here although it has no contexts, so the number is only looked at where it counts.
      compressor: hasFeature(features, BlobFeature.TARFS)
        ? (compressorOf(bytes.readUInt32LE(offset + CI_COMPRESSOR)) ?? 'none')
        : algorithm(compressorOf, CI_COMPRESSOR, 'ci_compressor'),
      offset: readU64(bytes, offset + CI_OFFSET),
      compressedSize: readU64(bytes, offset + CI_COMPRESSED_SIZE),
      uncompressedSize: readU64(bytes, offset + CI_UNCOMPRESSED_SIZE),
    },
    metaDigest: Buffer.alloc(DIGEST_SIZE),
    metaSize: 0,
  };
  const cipher = bytes.readUInt32LE(offset + CIPHER);
  if (cipher === CIPHER_AES_128_XTS) {
    const iv = Buffer.concat([
      bytes.subarray(offset + META_SIZE, offset + META_SIZE + 8),
      bytes.subarray(offset + CIPHER_IV_TAIL, offset + CIPHER_IV_TAIL + 8),
    ]);
    entry.cipher = { key: copyOf(bytes, offset + META_DIGEST, 32), iv };
  } else if (cipher === CIPHER_NONE) {
    entry.metaDigest = copyOf(bytes, offset + META_DIGEST, DIGEST_SIZE);
    entry.metaSize = readU64(bytes, offset + META_SIZE);
  } else {
    throw new RafterError(
      'UNSUPPORTED',
      `${name}: blob table cipher_algo at offset ${offset + CIPHER}: cipher ${cipher}`,
    );
  }
  return entry;
}

function copyOf(bytes: Buffer, offset: number, size: number): Buffer {
  return Buffer.copyBytesFrom(bytes, offset, size);
}
