import { RafterError } from '../errors.js';
import { malformed } from './binary.js';
import type { BlobEntry } from './blob-entry.js';
import { BlobFeature, hasFeature, unknownBlobFeatures } from './blob-features.js';
import { CHUNK_INFO_V1_SIZE } from './chunk-info-v1.js';
import { CHUNK_INFO_V2_SIZE } from './chunk-info-v2.js';
import { MAX_CHUNK_COUNT, MAX_DECODED_SIZE, MAX_STORED_SIZE } from './limits.js';
import { TAR_FOOTER_SIZE } from './tar-footer.js';

/** What a blob table entry must agree with. */
interface BlobContext {
  /** Name of the bootstrap and byte offset of the entry, for messages. */
  name: string;
  offset: number;
  /** Position in the table. */
  index: number;
  chunkSize: number;
  tarfs: boolean;
}

/** Features that need the 24-byte chunk info. */
const NEEDS_V2 = BlobFeature.BATCH | BlobFeature.ZRAN | BlobFeature.ENCRYPTED;

/**
 * Checks one entry of a blob table against the limits of RAFS v6 and against its bootstrap.
 * Throws MALFORMED, LIMIT_EXCEEDED, or UNSUPPORTED for feature bits that must not be ignored.
 */
export function checkBlobEntry(entry: BlobEntry, context: BlobContext): void {
  const wrong = (field: string, problem: string) =>
    malformed(context.name, `blob table entry ${context.index} ${field}`, context.offset, problem);
  const within = (field: string, value: number, limit: number) => {
    if (value > limit) {
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${context.name}: blob ${context.index} ${field} ${value}; at most ${limit}`,
      );
    }
  };
  const unknown = unknownBlobFeatures(entry.features);
  if (unknown !== 0) {
    throw new RafterError(
      'UNSUPPORTED',
      `${context.name}: blob ${context.index} needs features 0x${unknown.toString(16)}, which are not known`,
    );
  }
  if (entry.index !== context.index) throw wrong('blob_index', `${entry.index}`);
  if (entry.chunkSize !== context.chunkSize) {
    throw wrong('chunk_size', `${entry.chunkSize} in an image of ${context.chunkSize}`);
  }
  within('chunk_count', entry.chunkCount, MAX_CHUNK_COUNT);
  within('compressed_size', entry.compressedSize, MAX_STORED_SIZE);
  within('uncompressed_size', entry.uncompressedSize, MAX_DECODED_SIZE);
  within('ci_offset', entry.ci.offset, MAX_STORED_SIZE);
  if (hasFeature(entry.features, BlobFeature.ALIGNED) === context.tarfs) {
    throw wrong('features', `ALIGNED must be ${context.tarfs ? 'clear in' : 'set outside'} tarfs mode`);
  }
  const v2 = hasFeature(entry.features, BlobFeature.CHUNK_INFO_V2);
  if (!v2 && (entry.features & NEEDS_V2) !== 0)
    throw wrong('features', 'BATCH, ZRAN and ENCRYPTED need CHUNK_INFO_V2');
  if (hasFeature(entry.features, BlobFeature.ENCRYPTED) !== (entry.cipher !== undefined)) {
    throw wrong('cipher_algo', 'does not agree with the feature ENCRYPTED');
  }
  if (entry.ci.compressedSize > entry.ci.uncompressedSize) {
    throw wrong(
      'ci_compressed_size',
      `${entry.ci.compressedSize} above ci_uncompressed_size ${entry.ci.uncompressedSize}`,
    );
  }
  checkArraySize(entry, v2, wrong);
}

function checkArraySize(
  entry: BlobEntry,
  v2: boolean,
  wrong: (field: string, problem: string) => Error,
): void {
  const size = entry.ci.uncompressedSize;
  const loose = v2
    ? (entry.features & NEEDS_V2) !== 0
    : (entry.features & (BlobFeature.IS_CHUNKDICT_GENERATED | BlobFeature.TARFS)) !== 0;
  const expected = entry.chunkCount * (v2 ? CHUNK_INFO_V2_SIZE : CHUNK_INFO_V1_SIZE);
  if (loose ? v2 && size < expected : size !== expected) {
    throw wrong('ci_uncompressed_size', `${size} for ${entry.chunkCount} chunks; expected ${expected}`);
  }
}

/**
 * Bytes of stored chunk data of a blob, from its start: what may be asked for and what chunk infos may point at.
 * The compressed_size of a blob table entry is not that in every form.
 */
export function storedDataSize(entry: BlobEntry): number {
  if (hasFeature(entry.features, BlobFeature.SEPARATE)) return entry.compressedSize;
  const footer =
    hasFeature(entry.features, BlobFeature.CAP_TAR_TOC) &&
    hasFeature(entry.features, BlobFeature.HAS_TAR_HEADER)
      ? TAR_FOOTER_SIZE
      : 0;
  return (entry.ci.uncompressedSize > 0 ? entry.ci.offset : entry.compressedSize) - footer;
}
