import { decompress } from '../codec/compressor.js';
import type { InflateStart } from '../codec/inflate-slice.js';
import { oneCopy } from '../codec/one-copy.js';
import { decryptUnit } from '../codec/unit-cipher.js';
import { RafterError } from '../errors.js';
import { BATCH_CONTEXT_SIZE, decodeBatchContext } from './batch-context.js';
import { malformed, wordsOf } from './binary.js';
import { BlobFeature, hasFeature } from './blob-features.js';
import { requireReadable } from './blob-forms.js';
import { checkChunks } from './blob-meta-check.js';
import { checkContextHeader } from './blob-meta-header.js';
import type { RafsBlob } from './bootstrap.js';
import { CHUNK_INFO_V1_SIZE, decodeChunkInfoV1 } from './chunk-info-v1.js';
import { CHUNK_INFO_V2_SIZE, ChunkInfoFlag, decodeChunkInfoV2 } from './chunk-info-v2.js';
import { CONTEXT_HEADER_SIZE } from './context-header.js';
import { alignUp, BLOCK_SIZE, MAX_CHUNK_COUNT } from './limits.js';
import { areSoundChunks } from './sound-chunks.js';
import { ZranTable } from './zran-table.js';

/**
 * One chunk of a blob. All are objects of one shape, with every member and in this order: they are made by the ten thousand when
 * an image is mounted.
 */
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
  /** Whether the stored unit is encrypted with the blob's key. */
  encrypted: boolean;
  /** CRC-32C of the raw bytes, if the blob says. */
  crc: number | undefined;
  /** For a member of a batch: which one, where in the decoded batch, and the batch's sizes. A slice of a gzip file is one too. */
  batch: { index: number; offset: number; storedSize: number; decodedSize: number } | undefined;
  /** For a member of a slice of a gzip file: how its decoder begins. */
  inflate: InflateStart | undefined;
}

/** Decoded bytes of a chunk info array, with contexts and dictionaries, at most: 2^24 entries with 24 bytes each. */
const MAX_ARRAY_SIZE = MAX_CHUNK_COUNT * CHUNK_INFO_V2_SIZE;

/**
 * The compression context table of a blob: for each chunk, where it is stored and what it decodes to. It keeps the
 * decoded array, which images that share the blob have in common, and makes objects on demand. All entries are checked when it is
 * parsed.
 */
export class BlobMeta {
  /** Chunks in the blob. */
  readonly chunkCount: number;
  readonly #array: Buffer;
  readonly #v2: boolean;
  readonly #zran: ZranTable | undefined;
  readonly #source: string;

  private constructor(array: Buffer, blob: RafsBlob, contextCount: number) {
    this.#array = oneCopy(`map of ${blob.id}`, array);
    this.#v2 = hasFeature(blob.features, BlobFeature.CHUNK_INFO_V2);
    this.#source = sourceOf(blob);
    this.chunkCount = blob.chunkCount;
    if (hasFeature(blob.features, BlobFeature.ZRAN)) {
      const offset = blob.chunkCount * CHUNK_INFO_V2_SIZE;
      this.#zran = new ZranTable(this.#array.subarray(offset), contextCount, this.#source);
    }
    if (!this.#v2 || !areSoundChunks(this.#array, blob)) checkChunks(this.#chunks(), blob, this.#source);
  }

  /**
   * From the content of a `<digest>.blob.meta` file: the decoded array, zeros up to a multiple of 4096, the header.
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
    const contexts = checkContextHeader(bytes, { offset: padded, blob, source: sourceOf(blob) });
    return new BlobMeta(bytes.subarray(0, blob.ci.uncompressedSize), blob, contexts);
  }

  /**
   * From the object that holds it: the `ci.compressedSize + 4096` bytes at `ci.offset`. Throws like `parseFile`.
   */
  static parseStored(bytes: Buffer, blob: RafsBlob): BlobMeta {
    checkForm(blob);
    const { compressor, offset, compressedSize: size, uncompressedSize } = blob.ci;
    if (bytes.length !== size + CONTEXT_HEADER_SIZE) {
      throw malformed(sourceOf(blob), 'compression contexts', offset, `${bytes.length} bytes`);
    }
    const clear = (section: Buffer) => (blob.cipher ? decryptUnit(blob.cipher, section) : section);
    const header = clear(bytes.subarray(size));
    const contexts = checkContextHeader(header, { offset: 0, blob, source: sourceOf(blob) });
    const stored = clear(bytes.subarray(0, size));
    const array = decompress(compressor, stored, uncompressedSize);
    // Raw arrays are views of the bytes that were read: copy, so that the header's 4096 bytes are not kept with them.
    return new BlobMeta(compressor === 'none' ? Buffer.copyBytesFrom(array) : array, blob, contexts);
  }

  /** Chunk `index`, 0 to chunkCount - 1. */
  chunk(index: number): BlobChunk {
    this.#requireIndex(index);
    if (this.#v2) return this.#chunkV2(index);
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
      encrypted: false,
      crc: undefined,
      batch: undefined,
      inflate: undefined,
    };
  }

  #chunkV2(index: number): BlobChunk {
    const info = decodeChunkInfoV2(this.#array, index * CHUNK_INFO_V2_SIZE);
    const { decodedOffset, size, flags, dataHigh, dataLow } = info;
    const encrypted = (flags & ChunkInfoFlag.ENCRYPTED) !== 0;
    let { storedOffset, storedSize } = info;
    let compressed = (flags & ChunkInfoFlag.COMPRESSED) !== 0;
    let crc = (flags & ChunkInfoFlag.HAS_CRC) !== 0 ? dataLow : undefined;
    let batch: BlobChunk['batch'];
    let inflate: InflateStart | undefined;
    if ((flags & ChunkInfoFlag.ZRAN) !== 0) {
      const slice = this.#slice(index, dataHigh);
      batch = {
        index: dataHigh,
        offset: dataLow,
        storedSize: slice.inSize,
        decodedSize: slice.outSize,
      };
      storedOffset = slice.inOffset;
      storedSize = 0;
      compressed = true;
      crc = undefined;
      inflate = slice.inflate;
    } else if ((flags & ChunkInfoFlag.BATCH) !== 0) {
      const context = this.#batchContext(dataHigh);
      batch = {
        index: dataHigh,
        offset: dataLow,
        storedSize: context.storedSize,
        decodedSize: context.decodedSize,
      };
      compressed = context.storedSize !== context.decodedSize;
      crc = undefined;
    }
    return {
      index,
      decodedOffset,
      size,
      storedOffset,
      storedSize,
      compressed,
      encrypted,
      crc,
      batch,
      inflate,
    };
  }

  /**
   * Where all chunks lie in decoded space, as `chunk` says, without an object for each: `offsets` and `sizes` have room for `chunkCount`
   * numbers.
   */
  readPlaces(offsets: Float64Array, sizes: Uint32Array): void {
    const words = this.#v2 ? wordsOf(this.#array) : undefined;
    for (let index = 0; index < this.chunkCount; index++) {
      if (words !== undefined) {
        const word = (index * CHUNK_INFO_V2_SIZE) / 4;
        offsets[index] = words[word]! * BLOCK_SIZE;
        sizes[index] = (words[word + 1]! & 0xffffff) + 1;
      } else {
        const { decodedOffset, size } = this.#decodedRange(index);
        offsets[index] = decodedOffset;
        sizes[index] = size;
      }
    }
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
  #batchContext(index: number): { storedSize: number; decodedSize: number } {
    const at = this.chunkCount * CHUNK_INFO_V2_SIZE + index * BATCH_CONTEXT_SIZE;
    if (at + BATCH_CONTEXT_SIZE > this.#array.length) {
      throw new RafterError('MALFORMED', `${this.#source}: batch ${index} does not exist`);
    }
    return decodeBatchContext(this.#array, at);
  }

  #slice(index: number, context: number) {
    if (this.#zran) return this.#zran.slice(context);
    throw new RafterError(
      'MALFORMED',
      `${this.#source}: chunk info ${index}: is in a gzip slice, but the blob has none`,
    );
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

function checkForm(blob: RafsBlob): void {
  requireReadable(blob);
  if (blob.chunkCount === 0 || blob.ci.uncompressedSize === 0) {
    throw new RafterError(
      'UNSUPPORTED',
      `${sourceOf(blob)} has no compression contexts, so nothing says where its chunks are`,
    );
  }
  if (blob.ci.uncompressedSize > MAX_ARRAY_SIZE) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${sourceOf(blob)}: compression contexts of ${blob.ci.uncompressedSize} bytes; at most ${MAX_ARRAY_SIZE}`,
    );
  }
}
