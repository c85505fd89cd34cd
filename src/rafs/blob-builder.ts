import { createHash } from 'node:crypto';
import { type Compressor, compress } from '../codec/compressor.js';
import { type DigestAlgorithm, sha256 } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { compressorId } from './algorithms.js';
import { BATCH_CONTEXT_SIZE, encodeBatchContext } from './batch-context.js';
import { BlobFeature } from './blob-features.js';
import { BlobRef } from './blob-ref.js';
import { CHUNK_INFO_V2_SIZE, ChunkInfoFlag, encodeChunkInfoV2, MAX_V2_STORED_SIZE } from './chunk-info-v2.js';
import { ChunkFlag } from './chunk-table.js';
import { CONTEXT_HEADER_SIZE, CONTEXT_MAGIC, encodeContextHeader } from './context-header.js';
import { GrowingBuffer } from './growing-buffer.js';
import {
  alignUp,
  BLOCK_SIZE,
  MAX_BATCH_SIZE,
  MAX_CHUNKS_PER_BLOB,
  MAX_DECODED_SIZE,
  MAX_STORED_SIZE,
} from './limits.js';
import { PlacedChunks } from './placed-chunks.js';
import { encodeTarFooter, TAR_FOOTER_SIZE } from './tar-footer.js';
import { encodeToc } from './toc.js';
import { TocName } from './toc-entry.js';
import type { Chunk } from './tree.js';

/** Raw properties of a chunk. */
export interface ChunkInput {
  /** Digest of the raw bytes, by the blob's algorithm. */
  digest: Buffer;
  /** CRC-32C of the raw bytes. One that happens to be 0 cannot be stored: nydusd takes it for an error. */
  crc: number;
  /** Raw bytes, 1 to chunkSize. */
  size: number;
}

/** Features of every blob made here; CHUNK_INFO_V2 gives each chunk its CRC, so every reader notices damage. */
const FEATURES =
  BlobFeature.ALIGNED |
  BlobFeature.CHUNK_INFO_V2 |
  BlobFeature.INLINED_CHUNK_DIGEST |
  BlobFeature.HAS_TAR_HEADER |
  BlobFeature.HAS_TOC |
  BlobFeature.CAP_TAR_TOC;

/**
 * Makes one data blob in the form "table of contents, bootstrap separate": chunk data, chunk infos, their header, digests,
 * table of contents, each but the header followed by a tar header. It returns the bytes to append and does no I/O.
 */
export class BlobBuilder {
  /** What the chunks point to. Its fields and id are set by `finish`. */
  readonly ref: BlobRef = new BlobRef();
  readonly #chunkSize: number;
  readonly #compressor: Compressor;
  readonly #digester: DigestAlgorithm;
  readonly #infos = new GrowingBuffer();
  readonly #batches = new GrowingBuffer();
  readonly #chunks = new PlacedChunks(this.ref);
  readonly #hash = createHash('sha256');
  #batchCount = 0;
  #storedSize = 0;
  #decodedSize = 0;

  /** `chunkSize` in bytes is that of the image; `compressor` and `digester` are what the chunks were made with. */
  constructor(options: { chunkSize: number; compressor: Compressor; digester: DigestAlgorithm }) {
    this.#chunkSize = options.chunkSize;
    this.#compressor = options.compressor;
    this.#digester = options.digester;
  }

  /** True while there are no chunks. An empty blob must not be written; nothing refers to it. */
  get isEmpty(): boolean {
    return this.#chunks.count === 0;
  }

  /**
   * Places a chunk that stands alone. `stored` is what goes into the file; `compressed` false means these are the raw
   * bytes. Throws LIMIT_EXCEEDED at 2^24 - 1 chunks, at 2^40 stored bytes and for 16 MiB stored as one chunk.
   */
  addChunk(input: ChunkInput & { stored: Buffer; compressed: boolean }): { chunk: Chunk; bytes: Buffer } {
    const { crc, size, stored, compressed } = input;
    this.#requireSize(size, stored.length, compressed ? undefined : size);
    if (stored.length > MAX_V2_STORED_SIZE)
      throw limit('stored bytes of a chunk', stored.length, MAX_V2_STORED_SIZE);
    const storedOffset = this.#storedSize;
    const flags = (compressed ? ChunkInfoFlag.COMPRESSED : 0) | (crc === 0 ? 0 : ChunkInfoFlag.HAS_CRC);
    const chunk = this.#place(
      input,
      { flags, storedOffset, storedSize: stored.length, dataLow: crc, dataHigh: 0 },
      {
        storedOffset,
        storedSize: stored.length,
        flags: (compressed ? ChunkFlag.COMPRESSED : 0) | crcFlag(crc),
      },
    );
    this.#append(stored);
    return { chunk, bytes: stored };
  }

  /**
   * Places a batch: chunks, each the only one of its file and shorter than chunkSize, stored as one unit. `stored` is the
   * unit (compressed, or the members' raw bytes one behind the other). Throws LIMIT_EXCEEDED as `addChunk`, and for
   * batches above 16 MiB.
   */
  addBatch(batch: { members: readonly ChunkInput[]; stored: Buffer; compressed: boolean }): {
    chunks: Chunk[];
    bytes: Buffer;
  } {
    const { members, stored, compressed } = batch;
    const decodedSize = members.reduce((sum, { size }) => sum + size, 0);
    if (decodedSize > MAX_BATCH_SIZE) throw limit('bytes of a batch', decodedSize, MAX_BATCH_SIZE);
    // Readers tell a raw batch by its equal sizes, so a compressed one has to be smaller.
    if (compressed ? stored.length >= decodedSize : stored.length !== decodedSize) {
      throw new Error(
        `a ${compressed ? 'compressed' : 'raw'} batch of ${decodedSize} bytes as ${stored.length}`,
      );
    }
    const storedOffset = this.#storedSize;
    let dataLow = 0;
    const chunks = members.map((member): Chunk => {
      if (member.size >= this.#chunkSize)
        throw new Error(`a batch member of ${member.size} bytes is a whole chunk`);
      this.#requireSize(member.size, stored.length, undefined);
      const flags = ChunkInfoFlag.BATCH | ChunkInfoFlag.COMPRESSED;
      const info = { flags, storedOffset, storedSize: 0, dataLow, dataHigh: this.#batchCount };
      dataLow += member.size;
      // The bootstrap's chunk table has no place for batches: Nydus writes zeros there.
      return this.#place(member, info, { storedOffset: 0, storedSize: 0, flags: crcFlag(member.crc) });
    });
    this.#batches.append(BATCH_CONTEXT_SIZE, (target, offset) => {
      encodeBatchContext({ storedSize: stored.length, decodedSize }, target, offset);
    });
    this.#batchCount++;
    this.#append(stored);
    return { chunks, bytes: stored };
  }

  /**
   * Ends the blob. `bytes` is everything behind the chunk data. `meta` is the content of the `<id>.blob.meta` file that
   * goes beside the bootstrap: decoded chunk infos, padded to 4096, and the header. The ref gets its fields and its id,
   * the SHA-256 of the whole file.
   */
  finish(): { bytes: Buffer; meta: Buffer } {
    if (this.isEmpty) throw new Error('an empty blob must not be written');
    const dataFooter = this.#end(TocName.DATA, this.#storedSize);
    const dataDigest = this.#hash.copy().digest();
    const array = Buffer.concat([...this.#infos.pieces, ...this.#batches.pieces]);
    const packed = compress(this.#compressor, array);
    const raw = packed.length >= array.length;
    const ci = {
      compressor: raw ? 'none' : this.#compressor,
      offset: this.#storedSize + TAR_FOOTER_SIZE,
      compressedSize: raw ? array.length : packed.length,
      uncompressedSize: array.length,
    };
    const features = FEATURES | (this.#batchCount > 0 ? BlobFeature.BATCH : 0);
    const header = this.#header(features, ci);
    const stored = raw ? array : packed;
    this.#hash.update(stored).update(header);
    const metaFooter = this.#end(TocName.CHUNK_INFOS, stored.length + header.length);
    const digests = this.#chunks.digests();
    this.#hash.update(digests);
    const digestFooter = this.#end(TocName.DIGESTS, digests.length);

    const headerOffset = ci.offset + ci.compressedSize;
    const digestsOffset = headerOffset + header.length + TAR_FOOTER_SIZE;
    const section = (name: string, offset: number, content: Buffer) => ({
      name,
      compressor: 'none' as Compressor,
      digest: sha256(content),
      offset,
      storedSize: content.length,
      size: content.length,
    });
    const toc = encodeToc([
      {
        name: TocName.DATA,
        compressor: 'none',
        digest: dataDigest,
        offset: 0,
        storedSize: this.#storedSize,
        size: this.#decodedSize,
      },
      {
        ...section(TocName.CHUNK_INFOS, ci.offset, array),
        compressor: ci.compressor,
        storedSize: ci.compressedSize,
      },
      section(TocName.CONTEXT_HEADER, headerOffset, header),
      section(TocName.DIGESTS, digestsOffset, digests),
    ]);
    this.#hash.update(toc);
    this.ref.finish({
      chunkSize: this.#chunkSize,
      chunkCount: this.#chunks.count,
      compressor: this.#compressor,
      digester: this.#digester,
      features,
      compressedSize: digestsOffset + digests.length + TAR_FOOTER_SIZE + toc.length,
      uncompressedSize: this.#decodedSize,
      tocSize: toc.length,
      tocDigest: sha256(toc),
      ci,
      metaDigest: Buffer.alloc(32),
      metaSize: 0,
    });
    this.ref.setId(this.#hash.digest('hex'));
    const padding = Buffer.alloc(alignUp(array.length, BLOCK_SIZE) - array.length);
    return {
      bytes: Buffer.concat([dataFooter, stored, header, metaFooter, digests, digestFooter, toc]),
      meta: Buffer.concat([array, padding, header]),
    };
  }

  #requireSize(size: number, storedSize: number, expected: number | undefined): void {
    if (!(Number.isInteger(size) && size >= 1 && size <= this.#chunkSize)) {
      throw new Error(`a chunk of ${size} bytes where at most ${this.#chunkSize} are allowed`);
    }
    if (storedSize === 0 || (expected !== undefined && storedSize !== expected)) {
      throw new Error(`a chunk of ${size} bytes cannot be stored as ${storedSize}`);
    }
    if (this.#chunks.count >= MAX_CHUNKS_PER_BLOB)
      throw limit('chunks of a blob', this.#chunks.count + 1, MAX_CHUNKS_PER_BLOB);
    const end = this.#storedSize + storedSize;
    if (end > MAX_STORED_SIZE) throw limit('stored bytes of a blob', end, MAX_STORED_SIZE);
    const decodedEnd = this.#decodedSize + size;
    if (decodedEnd > MAX_DECODED_SIZE) throw limit('decoded bytes of a blob', decodedEnd, MAX_DECODED_SIZE);
  }

  /**
   * Gives a chunk its index and decoded offset, and writes its chunk info and digest. `info` is what the blob says of it,
   * `listed` what the bootstrap's chunk table says.
   */
  #place(
    { digest, crc, size }: ChunkInput,
    info: { flags: number; storedOffset: number; storedSize: number; dataLow: number; dataHigh: number },
    listed: { storedOffset: number; storedSize: number; flags: number },
  ): Chunk {
    const decodedOffset = this.#decodedSize;
    this.#infos.append(CHUNK_INFO_V2_SIZE, (target, offset) => {
      const { flags, storedOffset, storedSize, dataLow, dataHigh } = info;
      encodeChunkInfoV2(
        { decodedOffset, size, flags, storedOffset, storedSize, dataLow, dataHigh },
        target,
        offset,
      );
    });
    this.#decodedSize = alignUp(decodedOffset + size, BLOCK_SIZE);
    return this.#chunks.add({ digest, crc, size, decodedOffset, ...listed });
  }

  #append(stored: Buffer): void {
    this.#hash.update(stored);
    this.#storedSize += stored.length;
  }

  /** The tar header behind a section. */
  #end(name: string, size: number): Buffer {
    const footer = encodeTarFooter({ name, size });
    this.#hash.update(footer);
    return footer;
  }

  #header(
    features: number,
    ci: { compressor: Compressor; offset: number; compressedSize: number; uncompressedSize: number },
  ): Buffer {
    const header = Buffer.alloc(CONTEXT_HEADER_SIZE);
    const batched = this.#batchCount > 0;
    encodeContextHeader(
      {
        magic: CONTEXT_MAGIC,
        features,
        ciCompressor: compressorId(ci.compressor),
        ciEntries: this.#chunks.count,
        ciOffset: ci.offset,
        ciCompressedSize: ci.compressedSize,
        ciUncompressedSize: ci.uncompressedSize,
        contextsOffset: batched ? this.#infos.length : 0,
        contextsSize: this.#batches.length,
        contextsCount: this.#batchCount,
        magicEnd: CONTEXT_MAGIC,
      },
      header,
      0,
    );
    return header;
  }
}

function crcFlag(crc: number): number {
  return crc === 0 ? 0 : ChunkFlag.HAS_CRC32;
}

function limit(what: string, value: number, most: number): RafterError {
  return new RafterError('LIMIT_EXCEEDED', `${what}: ${value}; RAFS v6 allows at most ${most}`);
}
