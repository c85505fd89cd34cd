import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobBytes } from '../../src/cache/blob-bytes.js';
import type { BlobLayout, ChunkInfo } from '../../src/cache/layout.js';
import { type Compressor, compress } from '../../src/codec/compressor.js';
import { chunkDigest, crc32c, type DigestAlgorithm } from '../../src/codec/digest.js';

/** What a sample blob holds, in order: a chunk of its own (number = bytes), or a batch of several. */
export type SamplePart = number | number[];

export interface SampleOptions {
  id?: string;
  compressor?: Compressor;
  digester?: DigestAlgorithm;
  /** As V1 chunk infos, which have no room for a CRC. */
  withoutCrc?: boolean;
  /** Decoded blocks of 4096 bytes left out in front of part `i`. */
  gapBefore?: (i: number) => number;
  /** Chunks whose digests the image does not know. */
  withoutDigest?: (index: number) => boolean;
}

export interface SampleBlob {
  layout: BlobLayout;
  /** The whole decoded address space. */
  truth: Buffer;
  stored: Buffer;
  digests: Buffer[];
  chunks: ChunkInfo[];
}

const BLOCK = 4096;

/** Bytes that compress to about half. */
function content(size: number): Buffer {
  return Buffer.from(
    randomBytes(Math.ceil(size / 2))
      .toString('hex')
      .slice(0, size),
    'latin1',
  );
}

/** A blob with stored bytes and layout as the Nydus tools make them, but with any parts. */
export function sampleBlob(parts: SamplePart[], options: SampleOptions = {}): SampleBlob {
  const { id = 'ab'.repeat(32), compressor = 'zstd', digester = 'blake3' } = options;
  const chunks: ChunkInfo[] = [];
  const digests: Buffer[] = [];
  const pieces: { offset: number; bytes: Buffer }[] = [];
  const units: Buffer[] = [];
  let decodedEnd = 0;
  let storedEnd = 0;
  let batches = 0;
  for (const [i, part] of parts.entries()) {
    decodedEnd += (options.gapBefore?.(i) ?? 0) * BLOCK;
    const members = (Array.isArray(part) ? part : [part]).map(content);
    const raw = Buffer.concat(members);
    const packed = compress(compressor, raw);
    const compressed = packed.length < raw.length;
    const unit = compressed ? Buffer.from(packed) : raw;
    let inBatch = 0;
    for (const bytes of members) {
      chunks.push({
        index: chunks.length,
        decodedOffset: decodedEnd,
        size: bytes.length,
        storedOffset: storedEnd,
        storedSize: Array.isArray(part) ? 0 : unit.length,
        compressed,
        encrypted: false,
        crc: Array.isArray(part) || options.withoutCrc ? undefined : crc32c(bytes),
        batch: Array.isArray(part)
          ? { index: batches, offset: inBatch, storedSize: unit.length, decodedSize: raw.length }
          : undefined,
        inflate: undefined,
      });
      digests.push(chunkDigest(digester, bytes));
      pieces.push({ offset: decodedEnd, bytes });
      decodedEnd += Math.ceil(bytes.length / BLOCK) * BLOCK;
      inBatch += bytes.length;
    }
    if (Array.isArray(part)) batches++;
    units.push(unit);
    storedEnd += unit.length;
  }
  const truth = Buffer.alloc(decodedEnd);
  for (const { offset, bytes } of pieces) bytes.copy(truth, offset);
  const layout: BlobLayout = {
    id,
    decodedSize: decodedEnd,
    chunkCount: chunks.length,
    compressor,
    digester,
    chunk: (index) => ({ ...chunks[index]! }),
    chunkDigest: (index) => (options.withoutDigest?.(index) ? undefined : digests[index]),
    chunkAtDecoded: (offset) => {
      const found = chunks.findIndex((chunk) => chunk.decodedOffset + chunk.size > offset);
      return found < 0 ? chunks.length : found;
    },
  };
  return { layout, truth, stored: Buffer.concat(units), digests, chunks };
}

/** Stored bytes in memory, with a record of every request and whatever can go wrong with one. */
export class SampleSource implements BlobBytes {
  readonly name: string;
  readonly requests: { offset: number; length: number }[] = [];
  /** Requests that were told to stop. */
  aborted = 0;
  delayMs = 0;
  /** Called with each request's number from 0 and its bytes: may change them, replace them or throw. */
  meddle: (bytes: Buffer, request: number) => Buffer = (bytes) => bytes;
  readonly #stored: Buffer;

  constructor(stored: Buffer, name = 'sample') {
    this.#stored = stored;
    this.name = name;
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    const number = this.requests.push({ offset, length }) - 1;
    try {
      await sleep(this.delayMs, undefined, signal ? { signal } : {});
    } catch (error) {
      this.aborted++;
      throw error;
    }
    return this.meddle(Buffer.copyBytesFrom(this.#stored, offset, length), number);
  }
}

/** A source that nobody may ask. */
export const noSource: BlobBytes = {
  name: 'nothing',
  read: () => Promise.reject(new Error('the source was asked')),
};

/** Flips a bit of the first byte. */
export function damage(bytes: Buffer): Buffer {
  bytes[0]! ^= 1;
  return bytes;
}
