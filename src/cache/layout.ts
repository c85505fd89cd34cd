import type { Compressor } from '../codec/compressor.js';
import { DIGEST_SIZE, type DigestAlgorithm, sha256Stream } from '../codec/digest.js';
import { oneCopy } from '../codec/one-copy.js';
import type { UnitCipher } from '../codec/unit-cipher.js';
import { RafterError } from '../errors.js';
import type { BlobChunk } from '../rafs/blob-meta.js';
import type { Bootstrap, ChunkMap } from '../rafs/bootstrap.js';
import { ChunkPlaces } from './chunk-places.js';
import { Bitmap } from './storage/bitmap.js';

/** One chunk of a blob: its place in decoded and in stored space. */
export type ChunkInfo = BlobChunk;

/** What the cache must know of a blob. Says what the bytes should be; who says it is not trusted beyond its own image. */
export interface BlobLayout {
  /** Letters and digits: the name of the object that holds the chunks. */
  readonly id: string;
  /** Bytes of the decoded address space. */
  readonly decodedSize: number;
  readonly chunkCount: number;
  readonly compressor: Compressor;
  readonly digester: DigestAlgorithm;
  /** Key of the chunks that are encrypted. */
  readonly cipher?: UnitCipher | undefined;
  /** Chunk `index` of 0 .. chunkCount - 1, ascending in decoded space. */
  chunk(index: number): ChunkInfo;
  /** As `chunk` says of all of them; see `BlobMeta`. Absent: only `chunk` says it. */
  readPlaces?: ((offsets: Float64Array, sizes: Uint32Array) => void) | undefined;
  /** Digest of the chunk's decoded bytes; undefined if the image does not use the chunk and so does not tell. */
  chunkDigest(index: number): Buffer | undefined;
  /** The chunk that holds decoded byte `offset`, or the next one behind a gap, or chunkCount. */
  chunkAtDecoded(offset: number): number;
}

/** A layout that looks digests up in the bootstrap, as long as it is not told to copy them. */
export interface BootstrapLayout extends BlobLayout {
  /** Copies the digests and lets go of the bootstrap, which is many times larger than they are. */
  detach(): void;
}

/** The layout of blob `blobIndex` of `bootstrap`, whose chunk map is `map`. */
export function layoutOf(bootstrap: Bootstrap, blobIndex: number, map: ChunkMap): BootstrapLayout {
  const blob = bootstrap.blobs[blobIndex];
  if (!blob) throw new RangeError(`${bootstrap.name} has no blob ${blobIndex}`);
  const digests = new Digests(bootstrap, blobIndex, map.chunkCount);
  return {
    id: blob.id,
    decodedSize: blob.uncompressedSize,
    chunkCount: map.chunkCount,
    compressor: blob.compressor,
    digester: blob.digester,
    cipher: blob.cipher,
    chunk: (index) => map.chunk(index),
    readPlaces: map.readPlaces?.bind(map),
    chunkDigest: (index) => digests.of(index),
    chunkAtDecoded: (offset) => map.chunkAtDecoded(offset),
    detach: () => digests.copy(blob.id),
  };
}

/** The digests of the chunks of one blob. */
class Digests {
  #bootstrap: Bootstrap | undefined;
  readonly #blobIndex: number;
  readonly #count: number;
  /** Once they are copied: all of them, and which there are. */
  #copied: { bytes: Buffer; known: Bitmap } | undefined;

  constructor(bootstrap: Bootstrap, blobIndex: number, count: number) {
    this.#bootstrap = bootstrap;
    this.#blobIndex = blobIndex;
    this.#count = count;
  }

  of(index: number): Buffer | undefined {
    if (this.#copied === undefined) return this.#bootstrap?.chunkDigest(this.#blobIndex, index);
    const { bytes, known } = this.#copied;
    return known.has(index) ? bytes.subarray(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE) : undefined;
  }

  copy(blobId: string): void {
    if (this.#copied !== undefined) return;
    const bytes = Buffer.alloc(this.#count * DIGEST_SIZE);
    const known = new Bitmap(this.#count);
    for (let index = 0; index < this.#count; index++) {
      const digest = this.of(index);
      if (digest === undefined) continue;
      digest.copy(bytes, index * DIGEST_SIZE);
      known.set(index);
    }
    this.#copied = { bytes: oneCopy(`digests of ${blobId}`, bytes), known };
    this.#bootstrap = undefined;
  }
}

/** Blob ids become file names: nothing else may be in them. */
const BLOB_ID = /^[0-9A-Za-z]{1,64}$/;
const CHUNKS_PER_HASH_UPDATE = 4096;

const fingerprints = new WeakMap<BlobLayout, string>();

/**
 * A name for where the chunks of `layout` lie in decoded space: SHA-256, 64 hex digits. Two images that share a blob
 * agree in it, unless one of them lies; only then could a chunk of one overwrite a chunk of the other.
 * Throws MALFORMED for an id that is no file name and for chunks that overlap or leave the blob.
 */
export function fingerprintOf(layout: BlobLayout): string {
  const known = fingerprints.get(layout);
  if (known !== undefined) return known;
  const fingerprint = computeFingerprint(layout);
  fingerprints.set(layout, fingerprint);
  return fingerprint;
}

function computeFingerprint(layout: BlobLayout): string {
  const { id, decodedSize, chunkCount } = layout;
  if (!BLOB_ID.test(id)) throw new RafterError('MALFORMED', `blob id '${id}' is not letters and digits`);
  const hash = sha256Stream();
  const places = new ChunkPlaces(ChunkPlaces.describe(layout));
  const numbers = new Float64Array(2 * CHUNKS_PER_HASH_UPDATE);
  const bytes = Buffer.from(numbers.buffer);
  let used = 0;
  let end = 0;
  for (let index = 0; index < chunkCount; index++) {
    const decodedOffset = places.offset(index);
    const size = places.size(index);
    if (size <= 0 || decodedOffset < end || decodedOffset + size > decodedSize) {
      throw new RafterError(
        'MALFORMED',
        `blob ${id}: chunk ${index} at decoded offset ${decodedOffset}, ${size} bytes, overlaps the one before ` +
          `(end ${end}) or leaves the blob (${decodedSize} bytes)`,
      );
    }
    end = decodedOffset + size;
    numbers[used++] = decodedOffset;
    numbers[used++] = size;
    if (used === numbers.length) {
      hash.update(bytes);
      used = 0;
    }
  }
  hash.update(bytes.subarray(0, used * Float64Array.BYTES_PER_ELEMENT));
  hash.update(Buffer.from(`${chunkCount} ${decodedSize}`));
  return hash.hex();
}
