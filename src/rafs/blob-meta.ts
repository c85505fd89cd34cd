import { decompress } from '../codec/compressor.js';
import { RafterError } from '../errors.js';
import { compressorId } from './algorithms.js';
import { BATCH_CONTEXT_SIZE, type BatchContext, decodeBatchContext } from './batch-context.js';
import { malformed } from './binary.js';
import { BlobFeature, hasFeature } from './blob-features.js';
import { checkChunks } from './blob-meta-check.js';
import type { RafsBlob } from './bootstrap.js';
import { CHUNK_INFO_V1_SIZE, decodeChunkInfoV1 } from './chunk-info-v1.js';
import { CHUNK_INFO_V2_SIZE, ChunkInfoFlag, decodeChunkInfoV2 } from './chunk-info-v2.js';
import { CONTEXT_HEADER_SIZE, CONTEXT_MAGIC, decodeContextHeader } from './context-header.js';
import { alignUp, BLOCK_SIZE, MAX_CHUNK_COUNT } from './limits.js';

/** One chunk of a blob. */
export interface BlobChunk {
  index: number;
  /** A multiple of 4096 in the decoded address space. */
  decodedOffset: number;
  /** Raw bytes. */
  size: number;
  /** Place in the stored chunk data; for a member of a batch that of the whole batch. */
  storedOffset: number;
  /** 0 for a member of a batch. */
  storedSize: number;
  /** Whether the stored unit (chunk or batch) is compressed with the blob's compressor. */
  compressed: boolean;
  /** CRC-32C of the raw bytes, if the blob says. */
  crc: number | undefined;
  /** For a member of a batch: which one, where in the decoded batch, and the batch's sizes. */
  batch: { index: number; offset: number; storedSize: number; decodedSize: number } | undefined;
}

/** Decoded bytes of a chunk info array at most: 2^24 entries with 24 bytes each. */
const MAX_ARRAY_SIZE = MAX_CHUNK_COUNT * CHUNK_INFO_V2_SIZE;

/** Forms of blobs whose data is not read, with the reason in words. */
const UNSUPPORTED_FORMS: readonly (readonly [number, string])[] = [
  [BlobFeature.ENCRYPTED, 'is encrypted'],
  [BlobFeature.TARFS, 'is a tar file (tarfs mode)'],
  [BlobFeature.ZRAN, 'is a reference into a gzip layer (zran)'],
  [BlobFeature.SEPARATE, 'is a reference into an ordinary layer'],
  [BlobFeature.EXTERNAL, 'is in an external storage backend'],
];

/**
 * The compression context table of a blob: for each chunk, where it is stored and what it decodes to. It keeps the
 * decoded array and makes objects on demand. All entries are checked when it is parsed.
 */
export class BlobMeta {
  /** Chunks in the blob. */
  readonly chunkCount: number;
  readonly #array: Buffer;
  readonly #v2: boolean;
  readonly #source: string;

  private constructor(array: Buffer, blob: RafsBlob) {
    this.#array = array;
    this.#v2 = hasFeature(blob.features, BlobFeature.CHUNK_INFO_V2);
    this.#source = sourceOf(blob);
    this.chunkCount = blob.chunkCount;
    checkChunks(this.#chunks(), blob, this.#source);
  }

  /**
   * From the content of a `<blob id>.blob.meta` file: the decoded array, zeros up to a multiple of 4096, the header.
   * Keeps a view of `bytes`. Throws MALFORMED, LIMIT_EXCEEDED, or UNSUPPORTED for forms whose data cannot be read.
   */
  static parseFile(bytes: Buffer, blob: RafsBlob): BlobMeta {
    checkForm(blob);
    const padded = alignUp(blob.ci.uncompressedSize, BLOCK_SIZE);
    if (bytes.length !== padded + CONTEXT_HEADER_SIZE) {
      throw malformed(
        `${sourceOf(blob)}.blob.meta`,
        'size',
        0,
        `${bytes.length}, not ${padded + CONTEXT_HEADER_SIZE}`,
      );
    }
    checkHeader(bytes, padded, blob);
    return new BlobMeta(bytes.subarray(0, blob.ci.uncompressedSize), blob);
  }

  /**
   * From the blob itself: the `ci.compressedSize + 4096` bytes at `ci.offset`. Throws like `parseFile`.
   */
  static parseStored(bytes: Buffer, blob: RafsBlob): BlobMeta {
    checkForm(blob);
    const stored = blob.ci.compressedSize;
    if (bytes.length !== stored + CONTEXT_HEADER_SIZE) {
      throw malformed(sourceOf(blob), 'compression contexts', blob.ci.offset, `${bytes.length} bytes`);
    }
    checkHeader(bytes, stored, blob);
    const array = decompress(blob.ci.compressor, bytes.subarray(0, stored), blob.ci.uncompressedSize);
    // Raw arrays are views of the bytes that were read: copy, so that the header's 4096 bytes are not kept with them.
    return new BlobMeta(blob.ci.compressor === 'none' ? Buffer.copyBytesFrom(array) : array, blob);
  }

  /** Chunk `index`, 0 to chunkCount - 1. */
  chunk(index: number): BlobChunk {
    this.#requireIndex(index);
    if (!this.#v2) {
      const { decodedOffset, size, storedOffset, storedSize } = decodeChunkInfoV1(
        this.#array,
        index * CHUNK_INFO_V1_SIZE,
      );
      const compressed = storedSize !== size;
      return {
        index,
        decodedOffset,
        size,
        storedOffset,
        storedSize,
        compressed,
        crc: undefined,
        batch: undefined,
      };
    }
    const info = decodeChunkInfoV2(this.#array, index * CHUNK_INFO_V2_SIZE);
    const { decodedOffset, size, storedOffset, storedSize, flags, dataHigh, dataLow } = info;
    if ((flags & (ChunkInfoFlag.ZRAN | ChunkInfoFlag.ENCRYPTED)) !== 0) {
      throw new RafterError(
        'UNSUPPORTED',
        `${this.#source}: chunk info ${index}: flags 0x${flags.toString(16)}`,
      );
    }
    let compressed = (flags & ChunkInfoFlag.COMPRESSED) !== 0;
    let batch: BlobChunk['batch'];
    if ((flags & ChunkInfoFlag.BATCH) !== 0) {
      const context = this.#batchContext(dataHigh);
      batch = {
        index: dataHigh,
        offset: dataLow,
        storedSize: context.storedSize,
        decodedSize: context.decodedSize,
      };
      compressed = context.storedSize !== context.decodedSize;
    }
    const crc = !batch && (flags & ChunkInfoFlag.HAS_CRC) !== 0 ? dataLow : undefined;
    return { index, decodedOffset, size, storedOffset, storedSize, compressed, crc, batch };
  }

  /** Index of the chunk that holds decoded offset `offset`, or the next one behind a gap, or chunkCount. */
  chunkAtDecoded(offset: number): number {
    let low = 0;
    let high = this.chunkCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { decodedOffset, size } = this.#decodedRange(middle);
      if (decodedOffset + size <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Sizes of batch `index`; contexts stand behind the chunk infos and fill the rest of the array. */
  #batchContext(index: number): BatchContext {
    const at = this.chunkCount * CHUNK_INFO_V2_SIZE + index * BATCH_CONTEXT_SIZE;
    if (at + BATCH_CONTEXT_SIZE > this.#array.length) {
      throw new RafterError('MALFORMED', `${this.#source}: batch ${index} does not exist`);
    }
    return decodeBatchContext(this.#array, at);
  }

  *#chunks(): Generator<BlobChunk> {
    for (let i = 0; i < this.chunkCount; i++) yield this.chunk(i);
  }

  #decodedRange(index: number): { decodedOffset: number; size: number } {
    return this.#v2
      ? decodeChunkInfoV2(this.#array, index * CHUNK_INFO_V2_SIZE)
      : decodeChunkInfoV1(this.#array, index * CHUNK_INFO_V1_SIZE);
  }

  #requireIndex(index: number): void {
    if (!(Number.isInteger(index) && index >= 0 && index < this.chunkCount)) {
      throw new Error(`chunk ${index} of a blob of ${this.chunkCount}`);
    }
  }
}

function sourceOf(blob: RafsBlob): string {
  return `blob ${blob.id}`;
}

/** Throws UNSUPPORTED, saying why, for a blob whose features say that its data cannot be read. */
export function requireReadable(blob: RafsBlob): void {
  for (const [feature, words] of UNSUPPORTED_FORMS) {
    if (hasFeature(blob.features, feature)) {
      throw new RafterError('UNSUPPORTED', `${sourceOf(blob)} ${words}, which this version cannot read`);
    }
  }
}

function checkForm(blob: RafsBlob): void {
  requireReadable(blob);
  if (blob.chunkCount === 0 || blob.ci.uncompressedSize === 0) {
    throw new RafterError('UNSUPPORTED', `${sourceOf(blob)} has no compression contexts`);
  }
  if (blob.ci.uncompressedSize > MAX_ARRAY_SIZE) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${sourceOf(blob)}: compression contexts of ${blob.ci.uncompressedSize} bytes; at most ${MAX_ARRAY_SIZE}`,
    );
  }
}

/** Reads the header at `offset` of `bytes` and compares it with the blob table. */
function checkHeader(bytes: Buffer, offset: number, blob: RafsBlob): void {
  const header = decodeContextHeader(bytes, offset);
  const require = (field: string, value: number, expected: number) => {
    if (value !== expected) {
      throw malformed(
        `${sourceOf(blob)}`,
        `context header ${field}`,
        offset,
        `${value}, expected ${expected}`,
      );
    }
  };
  require('magic', header.magic, CONTEXT_MAGIC);
  require('magic2', header.magicEnd, CONTEXT_MAGIC);
  require('ci_compressor', header.ciCompressor, compressorId(blob.ci.compressor));
  require('ci_entries', header.ciEntries, blob.chunkCount);
  require('ci_offset', header.ciOffset, blob.ci.offset);
  require('ci_compressed_size', header.ciCompressedSize, blob.ci.compressedSize);
  require('ci_uncompressed_size', header.ciUncompressedSize, blob.ci.uncompressedSize);
  const entrySize = hasFeature(blob.features, BlobFeature.CHUNK_INFO_V2)
    ? CHUNK_INFO_V2_SIZE
    : CHUNK_INFO_V1_SIZE;
  const infos = header.ciEntries * entrySize;
  const batches = hasFeature(blob.features, BlobFeature.BATCH);
  if (batches) require('contexts offset', header.contextsOffset, infos);
  const size = infos + (batches ? header.contextsCount * BATCH_CONTEXT_SIZE : 0);
  require('ci_uncompressed_size', header.ciUncompressedSize, size);
}
